"""What --train-json and --eval-json name: files and phantoms, put together and told apart."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from data.examples import MODALITIES, VQAExample
from data.faults import Fault
from data.images import MISSING
from data.phantoms.drawing import MACHINES
from data.sources import Wanted, load_split, load_splits
from tests.places import ROOT

ROW = {"image": "a.png", "problem": "What? A)CT, B)MRI", "solution": "<answer> B </answer>"}


def write(path: Path, rows: list) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows))
    return str(path)


def test_files_follow_each_other_each_with_its_checksum(tmp_path):
    counts = {"CT_train": 2, "X-Ray_train": 1}
    names = [write(tmp_path / f"{stem}.json", [ROW] * count) for stem, count in counts.items()]
    split = load_split(names, part="train", image_root=tmp_path)
    assert [example.id for example in split.examples] == [
        "CT_train-0",
        "CT_train-1",
        "X-Ray_train-0",
    ]
    assert [example.modality for example in split.examples] == ["CT", "CT", "X-Ray"]
    assert split.bad_rows == []
    assert split.checksums == {
        name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in names
    }


def test_skipped_rows_of_all_files_are_listed(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / ROW["image"])
    names = [write(tmp_path / f"{stem}.json", [ROW, {}]) for stem in ("CT", "MRI")]
    split = load_split(names, part="eval", image_root=tmp_path, skip_bad_rows=True)
    assert [Path(bad.file).stem for bad in split.bad_rows] == ["CT", "MRI"]
    with pytest.raises(ValueError, match=r"2 of 4 rows of 2 files .*--skip-bad-rows") as caught:
        load_split(names, part="eval", image_root=tmp_path)
    lines = str(caught.value).splitlines()[1:]
    for line, stem in zip(lines, ("CT", "MRI"), strict=True):
        assert line.startswith(f"  - {tmp_path / stem}.json, row 1: []")


def test_two_files_of_one_name_are_refused(tmp_path):
    names = [write(tmp_path / folder / "CT.json", [ROW]) for folder in ("a", "b")]
    with pytest.raises(ValueError, match=r"id CT-0, from .*a/CT\.json and .*b/CT\.json: .*rename"):
        load_split(names, part="train", image_root=tmp_path)


@pytest.mark.parametrize("names", [["phantoms", "phantoms:CT"], ["phantoms:CT", "phantoms:CT"]])
def test_one_phantom_cannot_come_twice(names):
    with pytest.raises(ValueError, match="two examples have the id"):
        load_split(names, part="eval", image_root=None)


def test_files_need_an_image_root_that_is_a_folder(tmp_path):
    name = write(tmp_path / "CT.json", [ROW])
    with pytest.raises(ValueError, match=r"CT\.json have no folder: add --image-root"):
        load_split([name], part="train", image_root=None)
    with pytest.raises(ValueError, match=r"nowhere is not a folder: check --image-root"):
        load_split([name], part="train", image_root=tmp_path / "nowhere")


def test_questions_in_words_alone_need_no_image_root(tmp_path):
    words = {"problem": "Which is an organ? A)CT, B)liver", "solution": "<answer> B </answer>"}
    name = write(tmp_path / "words.json", [words, words | {"image": None}])
    for root in (None, tmp_path):
        split = load_split([name], part="train", image_root=root)
        assert [example.images for example in split.examples] == [(), ()]
    with pytest.raises(ValueError, match=r"mixed\.json have no folder: add --image-root"):
        load_split([write(tmp_path / "mixed.json", [words, ROW])], part="train", image_root=None)
    outside = words | {"image": "/elsewhere/a.png"}  # nor is it told to be outside of nothing
    with pytest.raises(ValueError, match=r"out\.json have no folder: add --image-root"):
        load_split([write(tmp_path / "out.json", [outside])], part="train", image_root=None)


def test_no_name_is_no_data():
    with pytest.raises(ValueError, match="no train data is named: pass data files, folders"):
        load_split([], part="train", image_root=None)


def test_phantoms_need_no_image_root_and_the_flag_decides_their_part():
    train = load_split(["phantoms"], part="train", image_root=None)
    held_out = load_split(["phantoms"], part="eval", image_root=None)
    assert len(held_out.examples) == 800 < 5_000 <= len(train.examples)
    assert not {e.id for e in train.examples} & {e.id for e in held_out.examples}
    assert not {e.images for e in train.examples} & {e.images for e in held_out.examples}
    assert train.checksums.keys() == held_out.checksums.keys() == {"phantoms"}
    assert train.checksums != held_out.checksums
    one_slice = load_split(["phantoms:CT"], part="eval", image_root=None)
    assert {*one_slice.checksums.values()}.isdisjoint(held_out.checksums.values())
    again = load_split(["phantoms"], part="eval", image_root=None)
    assert again == held_out


@pytest.mark.slow
@pytest.mark.parametrize("part", ["train", "eval"])
@pytest.mark.parametrize("modality", MODALITIES)
def test_a_change_of_the_drawing_code_changes_the_checksum(monkeypatch, modality, part):
    before = load_split(["phantoms"], part=part, image_root=None).checksums
    draw_anatomy, palette, finish = MACHINES[modality]

    def finish_brighter(canvas, rng):
        finish(canvas, rng)
        canvas += 0.01

    monkeypatch.setitem(MACHINES, modality, (draw_anatomy, palette, finish_brighter))
    assert load_split(["phantoms"], part=part, image_root=None).checksums != before


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("phantoms:CT", "modality", "CT"),
        ("phantoms:Lesion Grading", "question_type", "Lesion Grading"),
    ],
)
def test_a_slice_holds_what_its_name_says(name, field, value):
    examples = load_split([name], part="eval", image_root=None).examples
    whole = load_split(["phantoms"], part="eval", image_root=None).examples
    assert examples == [example for example in whole if getattr(example, field) == value] != []


def test_an_unknown_slice_lists_the_slices():
    with pytest.raises(ValueError, match=r"'PET'.*Lesion Grading"):
        load_split(["phantoms:PET"], part="eval", image_root=None)
    with pytest.raises(ValueError, match=r"slice ''.*Lesion Grading"):
        load_split(["phantoms:"], part="eval", image_root=None)


@pytest.mark.command
def test_the_data_layer_imports_no_torch():
    code = (
        "import sys, data, data.turns, data.sources, data.order, data.sample, data.phantoms;"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def faults_at(*rows: str) -> Callable[[Sequence[VQAExample]], dict[str, Fault]]:
    """What looks at images and finds some of them missing."""
    return lambda examples: {
        example.id: Fault(example.image_names[0], MISSING)
        for example in examples
        if example.id in rows
    }


def test_missing_images_are_counted_with_a_guess_at_the_image_root(tmp_path):
    rows = [ROW | {"image": f"{index}.png"} for index in range(3)]
    name = write(tmp_path / "CT.json", rows)
    with pytest.raises(ValueError, match="2 of 3 rows") as caught:
        load_split([name], part="train", image_root=tmp_path, find_faults=faults_at("CT-0", "CT-2"))
    assert "2 of 3 image files are missing: is --image-root the folder" in str(caught.value)


def test_a_resumed_run_leaves_out_its_own_rows_mended_or_not_and_no_others(tmp_path):
    name = write(tmp_path / "CT.json", [ROW] * 4)
    first = load_split(
        [name],
        part="train",
        image_root=tmp_path,
        skip_bad_rows=True,
        find_faults=faults_at("CT-1", "CT-2"),
    )
    assert list(first.left_out.values()) == [[1, 2]]
    # meanwhile the image of row 1 was mended and that of row 3 went
    wanted = {"train": Wanted([name], faults_at("CT-2", "CT-3"), left_out=first.left_out)}
    again = load_splits(wanted, image_root=tmp_path)["train"]
    assert [example.id for example in again.examples] == ["CT-0", "CT-3"]
    assert [bad.reason for bad in again.bad_rows] == ["was left out when the run began", MISSING]
    assert [bad.row for bad in again.gone_bad] == [3]
    assert again.left_out == first.left_out
