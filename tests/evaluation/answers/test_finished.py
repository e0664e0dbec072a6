"""An evaluation directory is written whole or not at all, and never over anything."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from data.examples import VQAExample
from evaluation.answers import finished
from evaluation.answers.finished import default_directory, read_evaluation, write_evaluation
from evaluation.answers.prediction import judge
from process.places import check_new_directory

# DESIGN's contract, in its order
KEYS = [
    *("id", "images", "modality", "question_type", "dataset", "question", "options"),
    *("permutation", "answer", "completion", "choice", "lenient_choice", "well_formed"),
    *("correct", "lenient_correct", "completion_tokens", "truncated", "letter_probabilities"),
    *("control", "letter_mass", "unanswered", "form"),
]
SUMMARY = {"overall": {"accuracy": 0.5}}


def prediction(completion="<answer>A</answer>"):
    images = (Path("a/b.png"), Path("c.png"))
    example = VQAExample("CT_test-7", images, "Größe?", ("x", "y"), "A", "CT")
    return judge(
        example,
        completion,
        mode="no_think",
        completion_tokens=5,
        truncated=False,
        letter_probabilities={"A": 0.75, "B": 0.25},
        letter_mass=0.875,
    )


def test_both_files_hold_what_was_predicted(tmp_path):
    place = tmp_path / "deep" / "evaluation"
    write_evaluation(place, SUMMARY, [prediction(), prediction("A\nor B")])
    assert sorted(file.name for file in place.iterdir()) == ["predictions.jsonl", "summary.json"]
    assert json.loads((place / "summary.json").read_text()) == SUMMARY
    first, second = (place / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert list(json.loads(first)) == KEYS
    assert json.loads(first) == {
        "id": "CT_test-7",
        "images": ["a/b.png", "c.png"],
        "modality": "CT",
        "question_type": "unknown",
        "dataset": "unknown",
        "question": "Größe?",
        "options": ["x", "y"],
        "permutation": [0, 1],
        "answer": "A",
        "completion": "<answer>A</answer>",
        "choice": "A",
        "lenient_choice": "A",
        "well_formed": True,
        "correct": True,
        "lenient_correct": True,
        "completion_tokens": 5,
        "truncated": False,
        "letter_probabilities": {"A": 0.75, "B": 0.25},
        "control": None,
        "letter_mass": 0.875,
        "unanswered": None,
        "form": "letter",
    }
    assert json.loads(second)["completion"] == "A\nor B"


def test_an_empty_directory_is_used(tmp_path):
    place = tmp_path / "empty"
    place.mkdir()
    check_new_directory(place)
    write_evaluation(place, SUMMARY, [prediction()])
    assert (place / "summary.json").is_file()
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("summary.json", "holds another evaluation: name another --output-dir"),
        ("run.json", "holds a run"),
        ("notes.txt", r"holds files \(notes.txt ..\)"),
    ],
)
def test_a_directory_with_content_is_refused_and_left_alone(tmp_path, file, message):
    place = tmp_path / "taken"
    place.mkdir()
    (place / file).write_text("precious")
    with pytest.raises(ValueError, match=message):
        check_new_directory(place)
    with pytest.raises(ValueError, match="could not be written"):
        write_evaluation(place, SUMMARY, [prediction()])
    assert (place / file).read_text() == "precious"
    assert list(tmp_path.iterdir()) == [place]


def test_a_file_is_no_output_directory_nor_the_parent_of_one(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is a file: name another"):
        check_new_directory(tmp_path / "file")
    with pytest.raises(ValueError, match=r"below cannot be (made|used)"):
        check_new_directory(tmp_path / "file" / "below")


def test_checking_makes_nothing(tmp_path):
    check_new_directory(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    plain = Path.open

    def full(path, *args, **kwargs):
        if path.name == "predictions.jsonl":  # summary.json had room
            raise OSError(28, "No space left on device")
        return plain(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ValueError, match=r"could not be written .* No space left on device"):
        write_evaluation(tmp_path / "out", SUMMARY, [prediction()])
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_json_does_not_know_leaves_nothing_behind(tmp_path):
    broken = dataclasses.replace(prediction(), letter_probabilities={"A": float("nan"), "B": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_evaluation(tmp_path / "out", SUMMARY, [prediction(), broken])
    assert list(tmp_path.iterdir()) == []


def test_default_names_tell_the_model_and_are_never_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_directory("Qwen/Qwen2-VL-2B-Instruct").name.endswith(
        "-Qwen2-VL-2B-Instruct-evaluation"
    )
    assert default_directory("runs/mine/checkpoints/step-000100").name.endswith(
        "-mine-step-000100-evaluation"
    )
    first = default_directory("tiny")
    first.mkdir(parents=True)
    assert default_directory("tiny") != first


# --- someone else's -----------------------------------------------------------------------------

PREDICTIONS = [prediction(), prediction("A\nor B")]


@pytest.mark.parametrize("name", ["summary.json", "predictions.jsonl"])
@pytest.mark.parametrize("kind", ["pipe", "link", "circle", "device", "deep", "long"])
def test_a_foreign_evaluation_is_read_with_care(tmp_path, monkeypatch, name, kind):
    write_evaluation(tmp_path / "e", {"evaluation": {"model": "x"}}, PREDICTIONS)
    assert len(read_evaluation(tmp_path / "e").rows) == len(PREDICTIONS)
    file = tmp_path / "e" / name
    file.rename(tmp_path / name)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "deep":
        file.write_text("[" * 100_000)
    elif kind == "long":
        monkeypatch.setattr(finished, "OBJECT_BYTES", 1000)
        monkeypatch.setattr(finished, "LINE_BYTES", 1000)
        file.write_text('{"evaluation": "' + "x" * 2000 + '"}')
    else:
        places = {"link": tmp_path / name, "circle": file, "device": "/dev/zero"}
        file.symlink_to(places[kind])
    with pytest.raises(ValueError, match=r"holds no finished evaluation .*name a directory"):
        read_evaluation(tmp_path / "e")


@pytest.mark.parametrize(
    "change",
    [
        {"id": ["a"]},
        {"correct": "yes"},
        {"completion": 5},
        {"options": [1, 2]},
        {"permutation": "01"},
        {"letter_probabilities": {"A": "high"}},
        {"letter_probabilities": {"A": 1e308}},
        {"modality": {}},
    ],
    ids=lambda change: "-".join(map(str, change)),
)
def test_an_answer_of_another_form_is_named_by_its_file(tmp_path, change):
    write_evaluation(tmp_path / "e", {"evaluation": {"model": "x"}}, PREDICTIONS)
    row = json.dumps(PREDICTIONS[0].to_json() | change)
    (tmp_path / "e" / "predictions.jsonl").write_text(row + "\n")
    with pytest.raises(ValueError, match="holds no finished evaluation"):
        read_evaluation(tmp_path / "e")


def test_a_damaged_line_is_named_by_its_number(tmp_path):
    write_evaluation(tmp_path / "e", {"evaluation": {"model": "x"}}, PREDICTIONS)
    with (tmp_path / "e" / "predictions.jsonl").open("a") as stream:
        stream.write("nonsense\n")
    with pytest.raises(ValueError, match=f"predictions.jsonl, line {len(PREDICTIONS) + 1}: "):
        read_evaluation(tmp_path / "e")
