"""The sixteen published split files of Med-R1's modality axis: every row, read without loss."""

import json
from collections import Counter
from string import ascii_uppercase

import pytest

from data.reading.readers import read_examples
from data.sources import load_split
from evaluation.asking.preflight import Preflight

pytestmark = pytest.mark.slow

ROWS = 63_489
MODALITY_ROWS = {
    "CT": 3_241 + 12_567,
    "Dermoscopy": 1_306 + 5_373,
    "Fundus": 1_098 + 4_300,
    "MRI": 6_370,  # its train file is not among the published ones here
    "Microscopy": 1_110 + 4_570,
    "OCT": 848 + 3_798,
    "Ultrasound": 2_074 + 8_917,
    "X-Ray": 1_615 + 6_301,
    "unknown": 1,
}


@pytest.fixture(scope="module")
def splits(shared):
    """Each file's rows beside the examples they became."""
    root = shared / "omnimedvqa_splits"
    files = sorted(root.glob("*/*.json"))
    assert len(files) == 16
    return {file: (json.loads(file.read_bytes()), read_examples(file, root)) for file in files}


def test_no_row_is_lost(splits):
    assert sum(len(examples) for _, (examples, _) in splits.values()) == ROWS
    assert not any(bad_rows for _, (_, bad_rows) in splits.values())


def test_every_row_can_be_written_again_from_its_example(splits):
    for rows, (examples, _) in splits.values():
        for row, example in zip(rows, examples, strict=True):
            pairs = zip(ascii_uppercase, example.options, strict=False)
            options = ", ".join(f"{letter}){text}" for letter, text in pairs)
            assert f"{example.question} {options}" == row["problem"]
            assert f"<answer> {example.answer} </answer>" == row["solution"]
            assert example.images[0].as_posix().endswith(row["image"])
            assert all(text and text == text.strip() for text in example.options)


def test_options_modalities_and_data_sets_are_those_published(splits):
    everything = [example for _, (examples, _) in splits.values() for example in examples]
    assert Counter(len(example.options) for example in everything) == {4: 56_589, 2: 6_778, 3: 122}
    assert Counter(example.modality for example in everything) == MODALITY_ROWS
    assert len({example.id for example in everything}) == ROWS
    assert "unknown" not in {example.dataset for example in everything}
    assert {"RadImageNet", "Chest CT Scan", "OCT & X-Ray 2017"} < {e.dataset for e in everything}


def test_missing_images_are_counted_and_the_first_few_named(shared, tmp_path):
    file = shared / "omnimedvqa_splits" / "train" / "CT(Computed Tomography)_train.json"
    with pytest.raises(ValueError, match=r"11,657 of 11,657 image files are missing") as caught:
        load_split([str(file)], part="train", image_root=tmp_path, find_faults=Preflight([]))
    lines = str(caught.value).splitlines()
    assert "--image-root" in lines[0]
    first = f"  - {file}, row 0: image {(tmp_path / 'Images' / 'Chest CT Scan').as_posix()}"
    assert lines[1].startswith(first)
    assert lines[6].startswith("  - and ")


def test_the_real_images_beside_the_project_are_all_there(shared):
    root = shared / "real_mini"
    files = [str(root / f"Microscopy_{part}.json") for part in ("train", "test")]
    split = load_split(files, part="train", image_root=root, find_faults=Preflight([]))
    assert len(split.examples) == 240
    assert {(e.modality, e.dataset) for e in split.examples} == {("Microscopy", "BCCD")}
