"""--only FIELD=VALUE as a user gives it: in train.py, evaluate.py, its matrix and what goes on."""

import json

import pytest

import evaluate
import train
from data.audit.__main__ import main as audit
from data.splits.__main__ import main as split
from evaluation.asking.answerer import Answerer
from tests.models.nano import random_image, write_checkpoint


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A nano model and VQA-RAD's one file, whose parts and kinds are told by its fields."""
    folder = tmp_path_factory.mktemp("rad")
    random_image(60, 60, seed=0).save(folder / "synpic1.png")
    rows = [
        {
            "qid": number,
            "phrase_type": ("freeform", "test_freeform")[number % 2],
            "image_name": "synpic1.png",
            "question": f"Is there a disc, {number}?",
            "answer": ("Yes", "No")[number // 2 % 2],
            "answer_type": "CLOSED ",
            "image_organ": ("HEAD", "CHEST")[number // 4],
        }
        for number in range(8)
    ]
    (folder / "rad.json").write_text(json.dumps(rows))
    write_checkpoint(folder / "model", "qwen2_vl")
    return folder


def trained(files, *flags: str) -> int:
    data = ["--train-json", str(files / "rad.json"), "--eval-json", str(files / "rad.json")]
    size = ["--image-size", "56", "--max-completion-tokens", "4", "--max-steps", "1"]
    batch = ["--prompts-per-step", "1", "--group-size", "2", "--device", "cpu"]
    model = ["--model", str(files / "model"), "--image-root", str(files)]
    return train.main([*model, *data, *size, *batch, *flags])


def evaluated(files, *flags: str) -> int:
    asked = ["--model", str(files / "model"), "--json", str(files / "rad.json")]
    how = ["--image-size", "56", "--max-completion-tokens", "4", "--device", "cpu"]
    return evaluate.main([*asked, "--image-root", str(files), *how, *flags])


BOTH = ("--only", "train:split=train", "eval:split=test", "image_organ=head")


def test_a_run_trains_on_one_official_part_and_is_evaluated_on_the_other(files, tmp_path, capsys):
    run = tmp_path / "run"
    assert trained(files, *BOTH, "--output-dir", str(run)) == 0
    printed = capsys.readouterr().out
    for part in ("train", "eval"):
        assert f"{part}: {' '.join(BOTH)} keeps 2 of 8 rows" in printed
    assert json.loads((run / "run.json").read_text())["config"]["only"] == list(BOTH[1:])
    rollouts = map(json.loads, (run / "rollouts.jsonl").read_text().splitlines())
    assert {row["id"] for row in rollouts} <= {"rad-0", "rad-2"}
    found = json.loads((run / "eval" / "step-000001.json").read_text())
    assert found["overall"]["n"] == 2
    assert "--only" in printed.split("next: ")[1]
    assert train.main(["--resume", str(run), "--only", "split=test"]) == 2
    assert "--only cannot change when a run is resumed" in capsys.readouterr().err
    assert trained(files, "--only", "split=test", "--output-dir", str(run), "--resume", "auto") == 2
    assert "--only cannot change when a run is resumed" in capsys.readouterr().err
    assert train.main(["--resume", str(run), "--max-steps", "2"]) == 0


def test_an_evaluation_notes_it_and_goes_on_with_the_same_alone(
    files, tmp_path, capsys, monkeypatch
):
    output = tmp_path / "out"
    flags = ["--output-dir", str(output), "--batch-size", "1"]
    answer, asked = Answerer.__call__, []

    def interrupt(*args, **options):
        asked.append(args)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return answer(*args, **options)

    monkeypatch.setattr(Answerer, "__call__", interrupt)
    assert evaluated(files, *flags, "--only", "split=test") == 130
    monkeypatch.undo()
    assert evaluated(files, *flags) == 2
    assert "was begun with another --only (['split=test'] there, None now)" in (
        capsys.readouterr().err
    )
    assert evaluated(files, *flags, "--only", "split=test") == 0
    assert "--only split=test keeps 4 of 8 rows" in capsys.readouterr().out
    summary = json.loads((output / "summary.json").read_text())
    assert summary["evaluation"]["data"]["only"] == ["split=test"]
    assert summary["overall"]["n"] == 4
    lines = (output / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["rad-1", "rad-3", "rad-5", "rad-7"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only", "split"], "--only 'split' is not FIELD=VALUE: write it as in --only q_lang=en"),
        (["--only", "split=dev"], "keeps none of the 8 rows of the eval data: split is train (4)"),
        (["--only", "lang=en"], "no row of the eval data has a field 'lang': use one of answer,"),
        (["--only", "train:split=train"], "is about the rows of train, of which none are read"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(files, tmp_path, capsys, flags, message):
    output = tmp_path / "out"
    assert evaluated(files, *flags, "--output-dir", str(output)) == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed and not output.exists()


def test_a_run_refuses_what_is_no_condition(files, tmp_path, capsys):
    assert trained(files, "--only", "=", "--output-dir", str(tmp_path / "run")) == 2
    assert "is not FIELD=VALUE" in capsys.readouterr().err
    assert trained(files, "--only", "split=dev", "--output-dir", str(tmp_path / "run")) == 2
    assert "keeps none of the 8 rows of the train data" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_audit_and_new_splits_read_the_same_rows(files, tmp_path, capsys):
    rad = str(files / "rad.json")
    for name in ("a_train.json", "a_test.json"):
        (tmp_path / name).write_text((files / "rad.json").read_text())
    pair = [str(tmp_path / "a_train.json"), str(tmp_path / "a_test.json")]
    output = ["--only", "image_organ=HEAD", "--output-dir"]
    assert audit([*pair, *output, str(tmp_path / "audit")]) == 0
    report = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert report["only"] == ["image_organ=HEAD"]
    assert {name: facts["rows"] for name, facts in report["files"].items()} == {
        "a_train": 4, "a_test": 4
    }  # fmt: skip
    for command in (audit, split):
        for wrong in ("image_organ", "eval:image_organ=HEAD", "image_organ=FOOT"):
            flags = ["--only", wrong, "--output-dir", str(tmp_path / "x")]
            assert command([*(pair if command is audit else [rad]), *flags]) == 2
    assert "Traceback" not in capsys.readouterr().err
