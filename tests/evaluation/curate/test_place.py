"""A curation goes on in its own directory alone, and what it found is written whole."""

import json
from dataclasses import replace

import pytest

from evaluation.answers.identity import CurationIdentity
from evaluation.curate.pass_counts import Passes
from evaluation.curate.place import check_place, open_place, write_curation
from evaluation.curate.reasons import CuratedRow

IDENTITY = CurationIdentity(
    mode="think",
    image_size=84,
    max_completion_tokens=40,
    limit=None,
    seed=0,
    only=(),
    skipped_rows=0,
    controls=(),
    prompt_template="{question} {options}",
    checksums={"CT_train.json": "a1"},
    model_checksum="b2",
    left_out={},
    samples=8,
    image_root=None,
    dtype="float32",
)
IDS = ["r-0", "r-1"]
ROW = CuratedRow("r-0", "CT", "Any", 8, 4, 0, "A", "B", False, True, ())


def test_the_same_curation_goes_on_and_another_does_not(tmp_path):
    place = tmp_path / "deep" / "curated"
    check_place(place)
    assert not place.exists()
    open_place(place, IDENTITY, IDS).append([Passes("r-0", 3, 1)])
    assert open_place(place, IDENTITY, IDS).rows == [Passes("r-0", 3, 1)]
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    assert before.keys() == {"settings.json", "passes.jsonl"}
    with pytest.raises(ValueError, match="was begun with another --samples: run it again as"):
        open_place(place, replace(IDENTITY, samples=9), IDS)
    assert {file.name: file.read_bytes() for file in place.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "words"),
    [("summary.json", "holds a finished curation"), ("notes.txt", "holds something else")],
)
def test_a_directory_of_another_kind_is_refused(tmp_path, name, words):
    (tmp_path / name).write_text("precious")
    with pytest.raises(ValueError, match=f"{words}: name another --output-dir"):
        open_place(tmp_path, IDENTITY, IDS)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_settings_that_cannot_be_read_are_said_so(tmp_path):
    (tmp_path / "settings.json").write_text("[1")
    with pytest.raises(ValueError, match="remove its directory to begin anew"):
        open_place(tmp_path, IDENTITY, IDS)


def test_what_was_found_takes_the_place_of_what_was_half_written(tmp_path):
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "old.json").write_text("[]")  # of a run that stopped while writing
    write_curation(tmp_path, [ROW], {"CT_train.json": [{"problem": "Größe?"}]}, {"rows": 1})
    assert [file.name for file in (tmp_path / "split").iterdir()] == ["CT_train.json"]
    assert json.loads((tmp_path / "split" / "CT_train.json").read_text(encoding="utf-8")) == [
        {"problem": "Größe?"}
    ]
    assert json.loads((tmp_path / "curate.jsonl").read_text())["reasons"] == []
    assert json.loads((tmp_path / "summary.json").read_text()) == {"rows": 1}


def test_without_all_of_it_a_curation_is_not_finished(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_curation(tmp_path, [ROW], {"CT_train.json": []}, {"share": float("nan")})
    assert not (tmp_path / "summary.json").exists()
