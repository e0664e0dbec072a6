"""What a process holds does not grow with its steps: objects, tensors, threads and open files.

benchmarks/long_run.py takes 2,000 steps and reads memory and seconds; here everything is counted.
"""

import gc
import threading
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch

import train
from grpo.step_log import StepLog
from grpo.watch.rules import FIRST_STEPS, REMEMBERED, History
from models.checkpoint import loading
from models.vision.features import FeatureCache

OURS = ("grpo", "models", "data", "rewards", "evaluation", "process")


def held() -> Counter:
    """Count what lives: objects of our classes, tensors and futures by type, threads, files."""
    gc.collect()
    found: Counter = Counter()
    for thing in gc.get_objects():
        kind = type(thing)
        room = str(kind.__module__).partition(".")[0]
        if room in OURS or kind.__name__ == "Future" or issubclass(kind, torch.Tensor):
            found[f"{kind.__module__}.{kind.__name__}"] += 1
    found["threads"] = threading.active_count()
    found["open files"] = len(list(Path("/proc/self/fd").iterdir()))
    return found


def counted(folder, monkeypatch, *flags: str) -> dict[int, Counter]:
    """Return what was held after some steps of a run that evaluates and saves on its way."""
    after: dict[int, Counter] = {}
    record = StepLog.record

    def and_count(log, number, *given, **named):
        metrics = record(log, number, *given, **named)
        if number in (6, 21):  # one step after an evaluation and a checkpoint
            after[number] = held()
        return metrics

    monkeypatch.setattr(StepLog, "record", and_count)
    small = ["--image-size", "56", "--max-completion-tokens", "4", "--prompts-per-step", "2"]
    often = ["--max-steps", "22", "--eval-every", "5", "--save-every", "5", "--eval-limit", "2"]
    out = ["--output-dir", str(folder / "run"), "--device", "cpu"]
    assert train.main([*small, *often, *flags, *out]) == 0
    return after


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are read from /proc")
@pytest.mark.parametrize(
    "flags",
    [
        ("--group-size", "2"),
        ("--group-size", "2", "--freeze-vision", "--grounding", "penalty"),
        ("--method", "sft"),
    ],
    ids=["grpo", "frozen, grounded", "sft"],
)
def test_twenty_steps_hold_what_six_do(tmp_path, monkeypatch, flags):
    # a frozen tower's features are kept up to a limit, which six steps' images are to reach
    monkeypatch.setattr(loading, "FeatureCache", partial(FeatureCache, limit_bytes=10_000))
    after = counted(tmp_path, monkeypatch, *flags)
    assert sum(after[6].values()) > 100  # it counts something
    grown = {name: (after[6][name], count) for name, count in after[21].items()
             if count > after[6][name]}  # fmt: skip
    assert not grown


@pytest.mark.unit
def test_the_alarms_remember_so_many_steps_and_no_more():
    history = History()
    for step in range(10 * REMEMBERED):
        history.add({"kl": float(step)})
    rows = [thing for thing in gc.get_referents(history.__dict__, *history.__dict__.values())
            if isinstance(thing, dict) and "kl" in thing]  # fmt: skip
    assert len(rows) == FIRST_STEPS + REMEMBERED
