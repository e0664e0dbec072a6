"""What is NaN or inf never becomes the newest checkpoint, and the run says so and ends with 2."""

import os
import signal

import pytest
import torch

import train
from grpo.optimizer import PolicyOptimizer
from grpo.run.checkpoint import save_checkpoint
from grpo.run.exploded import ExplodedError, check_finite_state, not_finite
from grpo.run.start_point import checkpoints_of, faults, newest_checkpoint
from grpo.settings.config import GRPOConfig

pytestmark = pytest.mark.model

NAN, INF, MOST = float("nan"), float("inf"), torch.finfo(torch.float32).max


@pytest.mark.parametrize(
    ("numbers", "is_finite"),
    [
        ([1.0, -1.0], True),
        ([NAN, 1.0], False),
        ([INF, -INF], False),
        ([MOST, MOST], True),
        ([], True),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_nan_and_inf_are_not_finite(numbers, is_finite, dtype):
    tensor = torch.tensor(numbers).to(dtype)
    if MOST in numbers and dtype == torch.bfloat16:
        tensor = torch.full((2,), torch.finfo(dtype).max, dtype=dtype)
    assert not_finite({"a": tensor}) == ([] if is_finite else ["a"])


@pytest.mark.parametrize("broken", ["weight", "moment"])
def test_it_is_refused_and_the_one_before_stays_the_newest(nano_policy, tmp_path, broken):
    optimizer = PolicyOptimizer(nano_policy, GRPOConfig(), total_steps=10)
    name, master = next(iter(optimizer.masters.items()))
    moments = {key: torch.ones_like(master) for key in ("exp_avg", "exp_avg_sq")}
    optimizer.adamw.state[master] = {"step": torch.tensor(1.0), **moments}

    def save(step):
        save_checkpoint(tmp_path, step, nano_policy, optimizer, state={}, card={}, keep=1)

    save(1)
    place = master.data if broken == "weight" else moments["exp_avg_sq"]
    before = place.view(-1)[0].item()
    place.view(-1)[0] = NAN
    try:
        with pytest.raises(ExplodedError, match=rf"step 2: 1 of .*{name}.*--model .*step-000001"):
            save(2)
        with pytest.raises(ExplodedError, match="start the run anew with a lower --learning-rate"):
            save_checkpoint(tmp_path / "b", 2, nano_policy, optimizer, state={}, card={}, keep=1)
    finally:
        place.view(-1)[0] = before
    assert [path.name for path in checkpoints_of(tmp_path)] == ["step-000001"]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]


RUN = [
    *("--model", "tiny", "--train-json", "phantoms:CT", "--image-size", "56", "--device", "cpu"),
    *("--max-completion-tokens", "4", "--max-steps", "3", "--prompts-per-step", "1"),
    *("--group-size", "2", "--learning-rate", "1e-4", "--save-every", "2", "--beta", "0"),
]


def explode_at(patch, step: int, also=lambda: None) -> None:
    """Make the update of a step, counted from 1, leave NaN in a weight."""
    real, taken = PolicyOptimizer.step, []

    def exploding(self, max_grad_norm):
        norm = real(self, max_grad_norm)
        taken.append(norm)
        if len(taken) == step:
            with torch.no_grad():
                next(iter(self.weights.values())).view(-1)[0] = NAN
            also()
        return norm

    patch.setattr(PolicyOptimizer, "step", exploding)


@pytest.mark.command
def test_a_run_whose_last_weights_are_not_finite_ends_with_2(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    explode_at(monkeypatch, 3)
    assert train.main([*RUN, "--output-dir", str(out)]) == 2
    told = capsys.readouterr().err
    assert "error: step 3: 1 of" in told and "hold NaN or inf (" in told
    assert f"--model {out}/checkpoints/step-000002" in told and "Traceback" not in told
    assert "2 of 3 steps are saved" in told
    assert faults(newest_checkpoint(out)) == [] and newest_checkpoint(out).name == "step-000002"


@pytest.mark.command
def test_a_signal_that_comes_then_keeps_its_status_and_says_what_was_not_saved(
    tmp_path, monkeypatch, capsys
):
    out = tmp_path / "run"
    explode_at(monkeypatch, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train.main([*RUN, "--output-dir", str(out)]) == 143
    told = capsys.readouterr().err
    assert "interrupted by SIGTERM" in told and "\nstep 1: 1 of" in told
    assert "no step is saved" in told and checkpoints_of(out) == []


def test_after_weights_that_were_saved_alone_a_new_run_is_the_only_way(tmp_path, monkeypatch):
    def message(weights_only: bool) -> str:
        monkeypatch.setattr("grpo.run.exploded.has_weights_only", lambda _place: weights_only)
        with pytest.raises(ExplodedError) as caught:
            check_finite_state(3, {"a": torch.tensor([NAN])}, tmp_path, tmp_path / "step-000002")
        return str(caught.value)

    check_finite_state(3, {"a": torch.tensor([1.0])}, tmp_path, None)
    new = f"start a new run from --model {tmp_path / 'step-000002'} with a lower --learning-rate"
    assert message(weights_only=True).endswith(new)
    assert f"{new}. --resume {tmp_path} goes on from there too" in message(weights_only=False)
