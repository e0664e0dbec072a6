"""The loop around a step: what is saved when it is broken off, and what a step without a record is.

Model, optimizer and method are stand-ins here: tests/whole/test_train.py runs the real ones.
"""

from types import SimpleNamespace

import pytest
import torch

import grpo.trainer
from grpo.fitting import TokenBudget
from grpo.methods import TakenStep
from grpo.run.directory import RunDirectory
from grpo.run.exploded import ExplodedError
from grpo.settings.config import GRPOConfig
from grpo.trainer import Trainer
from process.ranks import world
from tests.threads_as_ranks import as_ranks

CONFIG = GRPOConfig(
    model="tiny", train_json=("phantoms",), device="cpu", prompts_per_step=1, save_every=0,
    max_bad_steps=2,
)  # fmt: skip
TOTAL = 4


class Optimizer:
    has_moved = has_skipped = False

    def start_step(self, _step: int) -> None:
        self.end_step()

    def end_step(self) -> None:
        self.has_moved = self.has_skipped = False


class Log:
    """Keeps the numbers of the steps that are written down."""

    def __init__(self) -> None:
        self.recorded: list[int] = []

    def record(self, number, *_, **__):
        self.recorded.append(number)
        return {"step": number}


class Profiler:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def start_step(self, step: int) -> None:
        self.heard.append(step)

    def part(self, name: str) -> None:
        self.heard.append(name)


@pytest.fixture
def saved(monkeypatch):
    """The steps whose checkpoint is written, none of which is real."""
    steps: list[int] = []

    def save(run, step, *_, **__):
        steps.append(step)
        return run / "checkpoints" / f"step-{step:06d}"

    monkeypatch.setattr(grpo.trainer, "save_checkpoint", save)
    return steps


def trainer_of(path, step=lambda _number, _optimizer: None, *, encode=str, done=0) -> Trainer:
    """Return a trainer whose step is what is given; it is told its number, from 1."""
    optimizer, decodes = Optimizer(), []
    policy = SimpleNamespace(device=torch.device("cpu"), decodes=decodes)
    policy.sampler = lambda: decodes.append(1)

    def take(batch, clock):
        clock.lap("rollout")
        optimizer.has_moved = True
        step(batch.step + 1, optimizer)
        return TakenStep({"completion_tokens": 1.0}, samples=1)

    trainer = Trainer(
        config=CONFIG, total_steps=TOTAL, policy=policy, optimizer=optimizer,
        example_at="example {}".format, replacement_at="instead of {}, {}".format, encode=encode,
        take_step=take, budget=TokenBudget(CONFIG), evaluate=None, run=RunDirectory(path), card={},
        state={"step": done},
    )  # fmt: skip
    log = Log()
    trainer._log = lambda: log
    trainer.recorded = log.recorded
    return trainer


def test_every_step_is_recorded_and_the_last_one_saved(tmp_path, saved):
    trainer = trainer_of(tmp_path)
    trainer.train()
    assert trainer.recorded == [1, 2, 3, 4] and saved == [4] and trainer.done == TOTAL


def test_steps_that_are_tried_are_timed_and_nothing_is_written(tmp_path, saved):
    trainer = trainer_of(tmp_path)
    times = trainer.try_steps(2)
    assert len(times) == 2 and all(one["time/step"] >= one["time/rollout"] >= 0 for one in times)
    assert len(trainer.policy.decodes) == 2  # a step's time holds what refreshes the sampler
    assert trainer.recorded == [] == saved and list(tmp_path.iterdir()) == []
    assert trainer.done == 0 and not trainer.optimizer.has_moved


def test_a_curriculum_keeps_in_a_checkpoint_what_it_knew_after_the_steps_that_are_done(
    tmp_path, monkeypatch
):
    kept = []

    def save(run, step, *_, state, **__):
        kept.append((step, state))
        return run

    def fail(number, optimizer):
        if number == 3:
            optimizer.has_moved = False
            raise RuntimeError("in step 3")

    monkeypatch.setattr(grpo.trainer, "save_checkpoint", save)
    plain, drawn = (trainer_of(tmp_path, fail) for _ in range(2))
    drawn.curriculum = SimpleNamespace(state=lambda done: {"curriculum": done})
    for trainer in (plain, drawn):
        with pytest.raises(RuntimeError, match="in step 3"):
            trainer.train()
    (step, without), (_, with_it) = kept
    assert step == 2 and with_it == {**without, "curriculum": 2} and "curriculum" not in without


def test_a_step_that_fails_before_its_update_leaves_those_before_it_saved(tmp_path, saved):
    def fail(number, optimizer):
        if number == 3:
            optimizer.has_moved = False
            raise RuntimeError("a reward function failed")

    trainer = trainer_of(tmp_path, fail)
    with pytest.raises(RuntimeError, match="a reward function failed"):
        trainer.train()
    assert saved == [2] and trainer.under_way != "saving"  # the message names the error's part


def test_a_step_that_fails_among_moving_weights_is_saved_by_nobody(tmp_path, saved):
    def fail(number, _optimizer):
        if number == 3:
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        trainer_of(tmp_path, fail).train()
    assert saved == []


def test_a_first_step_that_fails_leaves_nothing_to_save(tmp_path, saved):
    def fail(_number, optimizer):
        optimizer.has_moved = False
        raise RuntimeError("at once")

    with pytest.raises(RuntimeError, match="at once"):
        trainer_of(tmp_path, fail).train()
    assert saved == []


@pytest.mark.parametrize("error", [RuntimeError("failed"), KeyboardInterrupt()])
def test_weights_that_are_not_finite_are_the_error_itself_and_beside_a_signal_a_note(
    tmp_path, monkeypatch, error
):
    def exploded(*_, **__):
        raise ExplodedError("a weight is NaN")

    def fail(number, optimizer):
        if number == 2:
            optimizer.has_moved = False
            raise error

    monkeypatch.setattr(grpo.trainer, "save_checkpoint", exploded)
    by_signal = isinstance(error, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt if by_signal else ExplodedError) as caught:
        trainer_of(tmp_path, fail).train()
    assert by_signal == (getattr(caught.value, "__notes__", []) == ["a weight is NaN"])


def test_too_many_bad_steps_in_a_row_end_the_run_and_its_last_weights_are_saved(tmp_path, saved):
    trainer = trainer_of(tmp_path)

    def record(number, *_, **__):
        trainer.bad_steps.count(float("nan"), (), skipped=number > 1)
        return {"step": number}

    trainer._log = lambda: SimpleNamespace(record=record)
    with pytest.raises(FloatingPointError, match=r"2 steps in a row \(steps 2 to 3\).*step-000003"):
        trainer.train()
    assert saved == [3]


def test_a_profiler_hears_of_every_step_and_its_parts_and_a_redrawn_row_is_warned_about(
    tmp_path, saved, capsys
):
    def encode(example):
        if example == "example 1":
            raise ValueError("cannot be read")
        return example

    trainer = trainer_of(tmp_path, encode=encode)
    trainer.profiler = Profiler()
    trainer.train()
    heard = trainer.profiler.heard
    assert [one for one in heard if isinstance(one, int)] == [1, 2, 3, 4]
    assert heard[:4] == [1, "data", "rollout", "reward"] and saved == [4]
    [line] = [line for line in capsys.readouterr().err.splitlines() if "warning: step" in line]
    assert "step 2: " in line


def test_of_several_processes_the_first_alone_names_the_best_evaluation(tmp_path, monkeypatch):
    wrote = []
    monkeypatch.setattr(grpo.trainer, "write_best", lambda *_: wrote.append(world().rank))

    def go_on(_):
        trainer = trainer_of(tmp_path, done=TOTAL)  # nothing is left to do
        trainer.train()
        return trainer.best

    assert as_ranks(2, go_on) == [None, None]
    assert set(wrote) == {0}


def test_what_a_dropped_step_drew_is_drawn_again_by_the_run_that_goes_on(tmp_path, monkeypatch):
    states, taken = [], []

    def save(run, _step, *_, state, **__):
        states.append(state)
        return run

    def trainer_from(state, fails_at=None):
        trainer = trainer_of(tmp_path, done=state["step"])
        trainer.state, real = state, trainer.take_step

        def draws_again(batch, clock):
            positions = [*batch.positions, *batch.more([0]).positions]  # two rows in each step
            taken.append((batch.step + 1, positions))
            if batch.step + 1 == fails_at:
                raise RuntimeError("a reward function failed")
            return real(batch, clock)

        trainer.take_step = draws_again
        return trainer

    monkeypatch.setattr(grpo.trainer, "save_checkpoint", save)
    with pytest.raises(RuntimeError, match="a reward function failed"):
        trainer_from({"step": 0}, fails_at=3).train()
    assert taken == [(1, [0, 1]), (2, [2, 3]), (3, [4, 5])]
    assert states[-1]["data_position"] == 4
    trainer_from({"step": 2, **states[-1]}).train()
    assert taken[3:] == [(3, [4, 5]), (4, [6, 7])]
    assert states[-1]["data_position"] == 8
