"""The checkpoint with the best held-out accuracy: found, kept, named, also by a resumed run."""

import json
from pathlib import Path

import pytest

import train
from evaluation.heldout import HeldOut
from grpo.run.best import Best, find_best, write_best
from grpo.trainer import Trainer
from tests.models.nano import random_image, write_checkpoint

pytestmark = pytest.mark.model

# by step; 1 and 3 are equal and the earlier one counts
ACCURACIES = {0: 0.2, 1: 0.6, 2: 0.4, 3: 0.6, 4: 0.2}


def evaluated(run: Path, accuracies: dict[int, float]) -> Path:
    (run / "eval").mkdir(parents=True)
    for step, accuracy in accuracies.items():
        summary = {"overall": {"accuracy": accuracy}}
        (run / "eval" / f"step-{step:06d}.json").write_text(json.dumps(summary))
    return run


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [
        ({}, None),
        ({0: 0.5}, Best(0, 0.5)),
        ({0: 0.5, 100: 0.7, 200: 0.6}, Best(100, 0.7)),
        ({9: 0.7, 10: 0.7, 1_000_000: 0.7}, Best(9, 0.7)),
        ({1_000_000: 0.8, 10: 0.7}, Best(1_000_000, 0.8)),
    ],
)
def test_the_highest_accuracy_counts_and_the_earliest_of_equals(tmp_path, accuracies, best):
    assert find_best(evaluated(tmp_path / "run", accuracies)) == best


def test_the_record_names_a_checkpoint_only_where_there_is_one(tmp_path):
    write_best(tmp_path, Best(0, 0.5))
    record = tmp_path / "checkpoints" / "best.json"
    assert json.loads(record.read_text()) == {"step": 0, "accuracy": 0.5, "checkpoint": None}
    (tmp_path / "checkpoints" / "step-000012").mkdir()
    write_best(tmp_path, Best(12, 0.5))
    assert json.loads(record.read_text())["checkpoint"] == "step-000012"


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """A run on a random model that evaluates after every step and would save only the last."""
    folder = tmp_path_factory.mktemp("files")
    random_image(60, 80).save(folder / "a.png")
    row = {"image": "a.png", "problem": "What is it? A)CT, B)MRI", "solution": "<answer>A</answer>"}
    (folder / "CT_train.json").write_text(json.dumps([row] * 4))
    return [
        *("--model", write_checkpoint(folder / "nano"), "--train-json", folder / "CT_train.json"),
        *("--eval-json", folder / "CT_train.json", "--image-root", folder, "--device", "cpu"),
        *("--image-size", "56", "--max-completion-tokens", "4", "--max-steps", "4"),
        *("--prompts-per-step", "1", "--group-size", "2", "--eval-every", "1"),
        *("--save-every", "0", "--keep-checkpoints", "1"),
    ]


def run(*arguments) -> int:
    return train.main([str(argument) for argument in arguments])


@pytest.fixture
def scripted(monkeypatch):
    """Held-out accuracies as ACCURACIES has them; everything else is the run's own."""

    def evaluate(_self, _policy, step):
        entry = {"accuracy": ACCURACIES[step], "n": 4, "low": 0.0, "high": 1.0, "chance": 0.5}
        return {"overall": entry, "by_modality": {}, "by_question_type": {}}

    monkeypatch.setattr(HeldOut, "__call__", evaluate)


def checkpoints(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "checkpoints").glob("step-*"))


@pytest.mark.usefixtures("scripted")
def test_the_best_is_saved_at_once_kept_beside_the_newest_and_named(arguments, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(*arguments, "--output-dir", out) == 0
    assert checkpoints(out) == ["step-000001", "step-000004"]
    record = json.loads((out / "checkpoints" / "best.json").read_text())
    assert record == {"step": 1, "accuracy": 0.6, "checkpoint": "step-000001"}
    line = f"best held-out accuracy: 60.0% at step 1, {out}/checkpoints/step-000001"
    assert line in capsys.readouterr().out


class PowerCut(BaseException):
    """What nothing can catch in time to save."""


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("cut_in_step", [1, 2])
def test_it_survives_an_interruption_and_a_lengthening(
    arguments, cut_in_step, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    real = Trainer._one_step

    def interrupted(self, step):
        if step == cut_in_step:
            raise PowerCut
        return real(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", interrupted)
        with pytest.raises(PowerCut):
            run(*arguments, "--output-dir", out)
    assert checkpoints(out) == ["step-000001"]
    assert run("--resume", out) == 0
    assert checkpoints(out) == ["step-000001", "step-000004"]
    ACCURACIES[5] = 0.9
    try:
        assert run("--resume", out, "--max-steps", "5") == 0
    finally:
        del ACCURACIES[5]
    assert checkpoints(out) == ["step-000005"]
    assert json.loads((out / "checkpoints" / "best.json").read_text())["step"] == 5


@pytest.mark.usefixtures("scripted")
def test_where_the_start_model_did_best_nothing_more_is_kept(
    arguments, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(ACCURACIES, 0, 0.9)
    out = tmp_path / "run"
    assert run(*arguments, "--output-dir", out) == 0
    assert checkpoints(out) == ["step-000004"]
    assert "90.0% at step 0, the start model itself" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("step-last.json", "{}", "is none of a run's evaluations: give it another name"),
        ("step-000002.json", "{", r"cannot be read \(JSONDecodeError.*restore it, or remove it"),
        ("step-000002.json", "{}", r"cannot be read \(KeyError: 'overall'\)"),
        ("step-000002.json", '{"overall": {"accuracy": true}}', "accuracy True"),
        ("step-000002.json", '{"overall": {"accuracy": 1.5}}', "accuracy 1.5"),
        ("step-000002.json", '{"overall": {"accuracy": "high"}}', "TypeError"),
    ],
)
def test_a_file_that_is_no_evaluation_is_named(tmp_path, name, content, message):
    run = evaluated(tmp_path / "run", {0: 0.5})
    (run / "eval" / name).write_text(content)
    with pytest.raises(ValueError, match=f"{name} {message}|{name} .*{message}"):
        find_best(run)


def test_where_nothing_was_evaluated_the_record_of_what_was_cut_goes(tmp_path):
    write_best(tmp_path, None)
    write_best(tmp_path, Best(12, 0.5))
    record = tmp_path / "checkpoints" / "best.json"
    assert record.is_file()
    write_best(tmp_path, None)
    assert not record.exists()
