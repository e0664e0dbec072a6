"""A folder means its data files, sorted, each row with an id of its own; no picture is opened."""

import gzip
import json

import pytest

from data.audit.audited import read_files
from data.reading.files import data_files
from data.sources import Wanted, load_split, load_splits
from evaluation.asking.prior_fitting import fit_priors
from evaluation.curate.split import split_files
from tests.data.reading.containers import parquet

ROW = {"image": "a.png", "problem": "What? A)CT, B)MRI", "solution": "<answer> B </answer>"}
LINE = json.dumps(ROW) + "\n"


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "data"
    for inside in ("deep", ".hidden", "Images"):
        (place / inside).mkdir(parents=True)
    (place / "CT_train.json").write_text(json.dumps([ROW, ROW]))
    (place / "deep" / "CT_train.jsonl.gz").write_bytes(gzip.compress(LINE.encode()))
    (place / "deep" / "b.PARQUET").write_bytes(
        parquet({n: [v] for n, v in ROW.items()} | {"image": [{"bytes": b"\x89PNG", "path": "x"}]})
    )
    for other in ("README.md", ".hidden/x.json", ".x.json", "Images/a.png", "notes.json.txt"):
        (place / other).write_text("no rows")
    return place


def test_a_folder_is_its_data_files_with_ids_of_their_places(folder):
    split = load_split([str(folder)], part="train", image_root=folder)
    assert [example.id for example in split.examples] == [
        "CT_train-0",
        "CT_train-1",
        "deep/CT_train-0",
        "deep/b-0",
    ]
    assert [example.modality for example in split.examples] == ["CT", "CT", "CT", "unknown"]
    names = [f"{folder}/{name}" for name in ("CT_train.json", "deep/CT_train.jsonl.gz")]
    assert list(split.checksums) == [*names, f"{folder}/deep/b.PARQUET"]
    assert split.stems == ["CT_train", "deep/CT_train", "deep/b"]
    one = load_split(names[:1], part="train", image_root=folder)
    assert one.examples == split.examples[:2]


def test_a_folder_that_has_another_number_of_files_is_no_run_to_go_on_with(folder):
    wanted = Wanted([str(folder)], stems=["CT_train", "deep/CT_train", "deep/b", "gone"])
    with pytest.raises(ValueError, match=r"train data is 3 files now \(.*and was 4 when the run"):
        load_splits({"train": wanted}, image_root=folder)


def test_a_folder_without_data_files_is_named(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(ValueError, match=r"the folder .* holds no data file, whose name ends in"):
        data_files(tmp_path)


def test_two_files_of_one_name_in_a_folder_are_refused(folder):
    (folder / "CT_train.csv").write_text(
        'image,problem,solution\na.png,"x? A)x, B)y",<answer>A</answer>\n'
    )
    with pytest.raises(ValueError, match=r"two examples have the id CT_train-0"):
        load_split([str(folder)], part="train", image_root=folder)


def test_priors_audits_and_curations_take_a_folder_too(folder):
    (folder / "deep" / "CT_train.jsonl.gz").unlink()
    assert fit_priors([str(folder)], str(folder))
    audited = read_files([folder], folder)
    assert [file.name for file in audited] == ["CT_train", "b"]
    split = load_split([str(folder)], part="eval", image_root=folder)
    kept = split_files([str(folder)], split.examples, [False, True, True], split.checksums)
    picture = {"bytes": "iVBORw==", "path": "x"}
    assert kept == {"CT_train.json": [ROW], "deep-b.json": [ROW | {"image": picture}]}
    json.dumps(kept)
