"""Phantoms: the same everywhere, never shared between parts, and right in every detail."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from string import ascii_uppercase

import numpy as np
import pytest

from data.examples import MODALITIES, QUESTION_TYPES
from data.phantoms import SLICES, phantom_examples
from data.phantoms.__main__ import main
from data.phantoms.attributes import Attributes, generator
from data.phantoms.drawing import draw_phantom
from data.phantoms.export import published_row, write_phantoms
from data.phantoms.wordings import right_text
from tests.places import ROOT


def digest(image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def test_the_held_out_part_has_twenty_rows_of_every_cell():
    examples = phantom_examples("heldout")
    cells = Counter((row.modality, row.question_type) for row in examples)
    assert cells == {(modality, kind): 20 for modality in MODALITIES for kind in QUESTION_TYPES}
    assert Counter(row.answer for row in examples) == dict.fromkeys("ABCD", 200)


def test_more_rows_only_append():
    assert phantom_examples("heldout", rows_per_cell=50)[:800] == phantom_examples("heldout")
    assert len(phantom_examples("heldout", rows_per_cell=3)) == 120


def test_the_right_option_is_what_the_image_was_drawn_from():
    for row in phantom_examples("train", rows_per_cell=8):
        facts = row.images[0].attributes
        assert facts.modality == row.modality
        assert row.answer_text == right_text(row.question_type, facts)
        assert len(set(row.options)) == 4


@pytest.mark.parametrize("name", SLICES)
def test_a_slice_keeps_the_rows_and_their_ids(name):
    whole = phantom_examples("heldout")
    part = phantom_examples("heldout", name)
    assert part == [row for row in whole if name in (row.modality, row.question_type)]
    assert len(part) == (100 if name in MODALITIES else 160)


def test_names_and_ids_are_stable():
    row = phantom_examples("train")[17]
    assert row.id == "phantoms_train-17"
    assert row.image_names == (f"phantoms/train/{row.modality}-00017.png",)
    assert hash(row.images[0]) == hash(dataclasses.replace(row.images[0]))


@pytest.mark.command
def test_an_image_is_the_same_at_every_call_and_in_every_process():
    sources = [row.images[0] for row in phantom_examples("heldout")[:40:5]]
    here = [digest(source()) for source in sources]
    assert here == [digest(source()) for source in sources]
    code = (
        "import hashlib\nfrom data.phantoms import phantom_examples\n"
        "for row in phantom_examples('heldout')[:40:5]:\n"
        "    print(hashlib.sha256(row.images[0]().tobytes()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert run.stdout.decode().split() == here


@pytest.mark.slow
def test_no_image_of_one_part_is_in_another():
    seen: dict[str, str] = {}
    for part, rows_per_cell in (("pretrain", 20), ("train", 20), ("heldout", 20)):
        for row in phantom_examples(part, rows_per_cell=rows_per_cell):
            name = digest(row.images[0]())
            assert name not in seen, f"{row.id} is the same picture as {seen[name]}"
            seen[name] = row.id


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_attribute_shows(modality):
    # Two pictures that differ in one attribute only, drawn with the same random numbers, must
    # differ where the attribute is: in hundreds of pixels, by far more than the noise.
    base = Attributes(modality, 0, 0, 2, 0)
    picture = np.asarray(draw_phantom(base, generator("same"))).astype(int)
    for name in ("anatomy", "finding", "grade", "site"):
        changed = dataclasses.replace(base, **{name: 3})
        other = np.asarray(draw_phantom(changed, generator("same"))).astype(int)
        assert (np.abs(picture - other).max(axis=2) > 60).sum() > 100, name


def test_pictures_are_small_colour_images():
    sizes = {
        (row.images[0]().size, row.images[0]().mode) for row in phantom_examples("heldout")[:40]
    }
    assert sizes == {((84, 84), "RGB")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("test",), r"unknown part 'test' .* pretrain, train, heldout"),
        (("train", "PET"), r"unknown slice 'PET' .* CT, .* Lesion Grading"),
    ],
)
def test_the_error_lists_what_there_is(arguments, message):
    with pytest.raises(ValueError, match=message):
        phantom_examples(*arguments)


def test_attributes_outside_the_tables_are_refused():
    with pytest.raises(ValueError, match="the rest 0 to 3"):
        Attributes("CT", 0, 4, 0, 0)


def test_the_published_format(tmp_path):
    files = write_phantoms(tmp_path, rows_per_cell=1)
    assert len(files) == 2 * (len(MODALITIES) + len(QUESTION_TYPES))
    rows = json.loads((tmp_path / "modality" / "CT_test.json").read_text())
    wanted = phantom_examples("heldout", "CT", rows_per_cell=1)
    assert rows == [published_row(row) for row in wanted]
    options = ", ".join(
        f"{letter}){text}" for letter, text in zip(ascii_uppercase, wanted[0].options, strict=False)
    )
    assert rows[0] == {
        "image": f"Images/{wanted[0].image_names[0]}",
        "problem": f"{wanted[0].question} {options}",
        "solution": f"<answer> {wanted[0].answer} </answer>",
    }
    assert all((tmp_path / row["image"]).is_file() for row in rows)
    grading = json.loads((tmp_path / "question_type" / "Lesion Grading_train.json").read_text())
    assert len(grading) == len(MODALITIES)


def test_without_letters_the_answer_stands_in_words(tmp_path):
    for asked, solution in (("open", "pelvis"), ("yes_no", "Yes"), ("count", "4")):
        row = published_row(phantom_examples("heldout", asked=asked)[0])
        assert row["solution"] == f"<answer> {solution} </answer>" and row["problem"][-1] == "?"
    files = write_phantoms(tmp_path, rows_per_cell=1, asked="count")
    assert len(files) == 2 * (len(MODALITIES) + 1)


def test_what_is_written_reads_back(tmp_path):
    data = pytest.importorskip("data.reading.readers")
    write_phantoms(tmp_path, rows_per_cell=1)
    path = tmp_path / "modality" / "X-Ray_test.json"
    rows, bad_rows = data.read_examples(path, tmp_path, skip_bad_rows=False)
    wanted = phantom_examples("heldout", "X-Ray", rows_per_cell=1)
    assert not bad_rows
    for row, original in zip(rows, wanted, strict=True):
        assert (row.question, row.options, row.answer) == (
            original.question,
            original.options,
            original.answer,
        )
        assert (row.modality, row.dataset) == ("X-Ray", "phantoms")


@pytest.mark.command
def test_the_command_refuses_a_folder_in_use(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    command = [sys.executable, "-m", "data.phantoms", "--output-dir", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "is not an empty folder: name a fresh one" in run.stderr


def test_the_command_writes_the_files_and_says_how_to_name_them(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["--output-dir", str(out), "--rows-per-cell", "1"]) == 0
    files = [file for file in out.rglob("*.json") if file.parent.name != "out"]
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{len(files)} JSON files under {out}; pass it as --image-root.")
    named = said[1].split("'")[1]
    assert len(json.loads(Path(named).read_text())) == len(QUESTION_TYPES)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rows-per-cell", "0"], "--rows-per-cell 0 must be at least 1"),
        (["--output-dir", "{tmp}/file"], "is not an empty folder: name a fresh one"),
        (["--output-dir", "{tmp}"], "is not an empty folder: name a fresh one"),
        (["--output-dir", "{tmp}/file/below"], "error: "),
    ],
)
def test_a_mistake_is_one_message_status_2_and_nothing_written(tmp_path, capsys, flags, message):
    (tmp_path / "file").write_text("mine")
    flags = ["--output-dir", str(tmp_path / "out"), *(flag.format(tmp=tmp_path) for flag in flags)]
    try:
        status = main(flags)
    except SystemExit as end:  # as argparse ends
        status = end.code
    assert status == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_phantoms_size_is_known_without_drawing_it():
    (image,) = phantom_examples("heldout", "CT", rows_per_cell=1)[0].images
    assert image.size == image().size
