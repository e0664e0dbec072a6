"""A gradient that is NaN or inf costs its step, not the run, and a run of them saves and stops."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from grpo.optimizer import PolicyOptimizer
from grpo.trainer import Trainer
from grpo.watch.bad_steps import BadSteps
from models.policy import Policy

pytestmark = pytest.mark.command

REWARD = """
seen = []

def counted(completion, example, mode):
    seen.append(len(completion))
    return float(len(seen) % 3)
"""


@pytest.fixture(autouse=True)
def _bad_gradients(tmp_path, monkeypatch):
    """The gradient is inf in the steps that a file names, as where an activation overflows."""
    start, step, now = PolicyOptimizer.start_step, PolicyOptimizer.step, []

    def started(self, number):
        now[:] = [number + 1]
        start(self, number)

    def broken(self, max_grad_norm):
        file = tmp_path / "bad.txt"
        if file.is_file() and str(now[0]) in file.read_text(encoding="utf-8").split():
            for master in self.masters.values():
                master.grad = torch.full_like(master, math.inf)
        return step(self, max_grad_norm)

    monkeypatch.setattr(PolicyOptimizer, "start_step", started)
    monkeypatch.setattr(PolicyOptimizer, "step", broken)


@pytest.fixture
def arguments(tmp_path) -> list[str]:
    (tmp_path / "reward.py").write_text(REWARD, encoding="utf-8")
    return [
        *("--model", "tiny", "--train-json", "phantoms:CT", "--image-size", "56"),
        *("--max-completion-tokens", "4", "--prompts-per-step", "2", "--group-size", "2"),
        *("--learning-rate", "1e-4", "--device", "cpu", "--save-every", "0", "--max-steps", "6"),
        *("--rewards", f"{tmp_path / 'reward.py'}:counted", "--warmup-steps", "0"),
    ]


def bad_in(tmp_path: Path, *steps: int) -> None:
    (tmp_path / "bad.txt").write_text(" ".join(map(str, steps)), encoding="utf-8")


def strict(constant: str):
    raise AssertionError(f"{constant} is no JSON")


def rows(out: Path, name: str = "metrics.jsonl") -> list[dict]:
    with (out / name).open(encoding="utf-8") as lines:
        return [
            {
                name: value
                for name, value in json.loads(line, parse_constant=strict).items()
                if not name.startswith("time/") and not name.endswith("_per_second")
            }
            for line in lines
        ]


def saved(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "checkpoints").glob("step-*"))


def test_a_bad_step_is_left_out_counted_and_named(arguments, tmp_path, capsys):
    bad_in(tmp_path, 2, 5)
    out = tmp_path / "run"
    assert train.main([*arguments, "--output-dir", str(out)]) == 0
    metrics = rows(out)
    assert [row["bad_steps"] for row in metrics] == [0, 1, 1, 1, 2, 2]
    assert [row["grad_norm"] is None for row in metrics] == [
        False, True, False, False, True, False
    ]  # fmt: skip
    rates = [row["learning_rate"] for row in metrics]
    assert rates == pytest.approx([1e-4 * (6 - i) / 6 for i in range(6)])  # it falls as ever
    told = capsys.readouterr().err
    ids = {row["id"] for row in rows(out, "rollouts.jsonl") if row["step"] == 2}
    warning = next(line for line in told.splitlines() if "step 2: the gradient's norm" in line)
    assert len(ids) == 2 and all(name in warning for name in ids)
    assert "1 in a row, the run stops at 5" in warning
    assert "not finite, null in metrics.jsonl: grad_norm" in told
    assert "Traceback" not in told and (out / "report.html").is_file()


def test_weights_and_moments_stay_as_they_were(arguments, tmp_path):
    bad_in(tmp_path, 2)
    out = tmp_path / "run"
    flags = ["--save-every", "1", "--keep-checkpoints", "9", "--max-steps", "3"]
    assert train.main([*arguments, *flags, "--output-dir", str(out)]) == 0
    for name in ("model.safetensors", "trainer/optimizer.safetensors"):
        first, second, third = (
            load_file(out / "checkpoints" / f"step-00000{step}" / name) for step in (1, 2, 3)
        )
        assert all((first[key] == second[key]).all() for key in first), name
        assert not all((second[key] == third[key]).all() for key in first), name


@pytest.mark.parametrize("limit", [1, 3])
def test_too_many_in_a_row_save_and_stop(arguments, limit, tmp_path, capsys):
    bad_in(tmp_path, *range(3, 7))
    out = tmp_path / "run"
    flags = ["--max-bad-steps", str(limit), "--output-dir", str(out)]
    assert train.main([*arguments, *flags]) == 2
    done = 2 + limit
    assert saved(out) == [f"step-{done:06d}"] and len(rows(out)) == done
    told = capsys.readouterr().err
    message = told[told.index("error: ") :]
    steps = "step 3" if limit == 1 else "steps 3 to 5"
    assert f"NaN or inf in {limit} steps in a row ({steps})" in message
    place = message.partition("--model ")[2].split()[0]
    assert Path(place).is_dir() and place.endswith(saved(out)[0])
    assert "from an earlier checkpoint or the start model if" in message  # its weights may be lost
    assert f"{done} of 6 steps are saved, go on with: python train.py --resume {out}" in message


def test_going_on_counts_on(arguments, tmp_path, monkeypatch, capsys):
    """Broken off between two bad steps, the run does what it does uninterrupted."""
    bad_in(tmp_path, 2, 3, 4)
    real = Trainer._one_step

    def interrupted(self, step):
        if step == 3:
            raise KeyboardInterrupt
        return real(self, step)

    flags = ["--max-bad-steps", "3", "--output-dir", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", interrupted)
        assert train.main([*arguments, *flags]) == 130
    assert saved(tmp_path / "run") == ["step-000003"]
    capsys.readouterr()
    resumed = ["--resume", str(tmp_path / "run"), "--trust-reward-file"]
    assert train.main(resumed) == 2
    assert "3 steps in a row (steps 2 to 4)" in capsys.readouterr().err
    # with more patience it goes on, and the count of all of them with it
    assert train.main([*resumed, "--max-bad-steps", "9"]) == 0
    assert [row["bad_steps"] for row in rows(tmp_path / "run")] == [0, 1, 2, 3, 3, 3]


def test_an_image_whose_features_are_no_numbers_costs_its_step_alone(
    arguments, tmp_path, monkeypatch, capsys
):
    """As one that overflows in half precision: every log-prob of its rows is NaN, sampled too."""
    bad_in(tmp_path)
    real, step = Policy.image_features, []

    def overflowing(self, prompts, *rest, **named):
        features = real(self, prompts, *rest, **named)
        return [item * math.nan for item in features] if step == [1] else features

    def begin(self, number):
        step[:] = [number]
        return start(self, number)

    start = Trainer._one_step
    monkeypatch.setattr(Trainer, "_one_step", begin)
    monkeypatch.setattr(Policy, "image_features", overflowing)
    out = tmp_path / "run"
    assert train.main([*arguments, "--max-steps", "3", "--output-dir", str(out)]) == 0
    metrics = rows(out)
    assert [row["bad_steps"] for row in metrics] == [0, 1, 1]
    nothing = ("entropy", "loss", "kl", "logprob_gap/mean", "logprob_gap/max", "grad_norm")
    assert all(metrics[1][name] is None for name in nothing)
    assert not any(metrics[2][name] is None for name in nothing)
    assert "Traceback" not in capsys.readouterr().err


def test_the_supervised_baseline_leaves_them_out_too(tmp_path, capsys):
    bad_in(tmp_path, 2)
    out = tmp_path / "run"
    flags = ["--method", "sft", "--model", "tiny", "--train-json", "phantoms:CT", "--image-size"]
    flags += ["56", "--prompts-per-step", "2", "--max-steps", "4", "--learning-rate", "1e-4"]
    flags += ["--warmup-steps", "0", "--device", "cpu"]
    assert train.main([*flags, "--output-dir", str(out)]) == 0
    assert [row["bad_steps"] for row in rows(out)] == [0, 1, 1, 1]
    assert "step 2: the gradient's norm is" in capsys.readouterr().err


def test_counts_by_hand():
    bad = BadSteps(limit=2)
    assert bad.count(1.0, [], skipped=False) is None and bad.state == {"total": 0, "in_a_row": 0}
    text = bad.count(math.nan, [f"row-{i}" for i in range(10)], skipped=True)
    assert "norm is nan" in text and text.endswith("row-7 and 2 more") and not bad.are_too_many
    bad.count(1.0, [], skipped=False)
    assert bad.state == {"total": 1, "in_a_row": 0}
    for _ in range(2):
        bad.count(math.inf, [], skipped=True)
    assert bad.are_too_many and BadSteps.of(2, {"bad_steps": bad.state}) == bad
    assert BadSteps.of(2, {}) == BadSteps(2)


@pytest.mark.unit
def test_bad_steps_are_counted_in_all_and_in_a_row_and_a_good_one_ends_the_row():
    bad = BadSteps(limit=3)
    for skipped in (True, True, False, True):
        text = bad.count(math.nan, ["CT-1"], skipped=skipped)
        assert (text is not None) is skipped
    assert (bad.total, bad.in_a_row, bad.are_too_many) == (3, 1, False)
    again = BadSteps.of(3, {"step": 7, "bad_steps": bad.state})
    assert (again.total, again.in_a_row) == (3, 1)  # a resumed run counts on
    again.count(math.inf, ["CT-1"], skipped=True)
    text = again.count(math.inf, ["CT-1"], skipped=True)
    assert "(3 in a row, the run stops at 3)" in text and again.are_too_many
    assert BadSteps.of(3, {"step": 7}).state == {"total": 0, "in_a_row": 0}


@pytest.mark.unit
def test_a_warning_names_some_examples_and_counts_the_rest():
    names = [f"CT-{number}" for number in range(10)]
    text = BadSteps(limit=2).count(math.nan, names, skipped=True)
    assert "CT-0, CT-1" in text and "CT-7 and 2 more" in text and "CT-8" not in text
    assert BadSteps(limit=2).count(math.nan, names[:8], skipped=True).endswith("CT-7")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("in_a_row", "steps"), [(1, "(step 12)"), (2, "(steps 11 to 12)"), (12, "(steps 1 to 12)")]
)
def test_the_stop_names_the_steps_and_a_model_to_start_from(in_a_row, steps):
    bad = BadSteps(limit=in_a_row, total=20, in_a_row=in_a_row)
    said = bad.stop_message(12, "runs/x/checkpoints/step-000012")
    assert f"{in_a_row} steps in a row {steps}" in said
    assert "--model runs/x/checkpoints/step-000012 with a lower --learning-rate" in said
