"""`--profile`: which steps are looked at, what the trace and the table hold."""

import gzip
import json
from dataclasses import replace

import pytest
import torch

from grpo.clock import STEP_PARTS, StepClock
from grpo.run.profiler import StepProfiler
from grpo.settings.config import GRPOConfig

CPU = torch.device("cpu")


def run_steps(profiler, start, total):
    """A run whose step spends its time in one product; returns what it printed, by step."""
    printed = {}
    for step in range(start + 1, total + 1):
        profiler.start_step(step)
        clock = StepClock(CPU, on_part=profiler.part)
        clock.lap("data")
        torch.randn(300, 300) @ torch.randn(300, 300)
        for part in STEP_PARTS[1:-1]:
            clock.lap(part)
        text = profiler.end_step(step, clock.metrics())
        if text is not None:
            printed[step] = text
    return printed


@pytest.mark.parametrize(
    ("start", "total", "watched"),
    [(0, 10, (2, 4)), (7, 20, (9, 11)), (0, 3, (1, 3)), (0, 2, (1, 2)), (5, 6, (6, 6))],
)
def test_a_few_steps_after_the_first_one_are_looked_at(tmp_path, start, total, watched):
    printed = run_steps(StepProfiler(tmp_path, CPU, start, total), start, total)
    assert list(printed) == [watched[1]]
    assert f"steps {watched[0]} to {watched[1]} went" in printed[watched[1]]
    assert (tmp_path / "table.txt").read_text().strip() in printed[watched[1]]


def test_the_trace_names_the_parts_and_the_table_the_operation(tmp_path):
    (table,) = run_steps(StepProfiler(tmp_path / "new", CPU, 0, 5), 0, 5).values()
    with gzip.open(tmp_path / "new" / "trace.json.gz", "rt") as file:
        names = [event.get("name") for event in json.load(file)["traceEvents"]]
    for part in STEP_PARTS:
        assert names.count(f"step/{part}") >= 3, part
    lines = [line.split() for line in table.splitlines()]
    seconds = {words[0]: float(words[1]) for words in lines if words and words[0] in STEP_PARTS}
    (whole,) = [float(words[1]) for words in lines if words and words[0] == "step"]
    assert sum(seconds.values()) == pytest.approx(whole, abs=1e-3)
    assert "aten::mm" in [words[0] for words in lines]
    assert seconds["rollout"] == max(seconds.values())


def test_nothing_is_written_for_a_run_without_steps(tmp_path):
    assert run_steps(StepProfiler(tmp_path / "none", CPU, 4, 4), 4, 4) == {}
    assert not (tmp_path / "none").exists()


def test_only_a_run_that_asks_for_it_is_watched(tmp_path):
    config = GRPOConfig(device="cpu")
    assert StepProfiler.of(config, tmp_path, 0, 10) is None
    watched = StepProfiler.of(replace(config, profile=True), tmp_path, 0, 3)
    assert list(run_steps(watched, 0, 3)) == [3]
    assert (tmp_path / "profile" / "table.txt").is_file()


def test_a_run_with_nothing_left_to_do_is_not_watched(tmp_path):
    profiler = StepProfiler(tmp_path, CPU, 5, 5)
    assert run_steps(profiler, 5, 5) == {}
    profiler.start_step(6).part("data")
    assert profiler.end_step(6, {}) is None
    assert list(tmp_path.iterdir()) == []


def test_on_a_gpu_its_kernels_are_looked_at_too(tmp_path, monkeypatch):
    asked = []

    class Watch:
        def __init__(self, activities) -> None:
            asked.append([activity.name for activity in activities])

        def __enter__(self) -> None:
            pass

    monkeypatch.setattr("grpo.run.profiler.profile", Watch)
    for device in ("cpu", "cuda"):
        StepProfiler(tmp_path, torch.device(device), 0, 5).start_step(2)
    assert asked == [["CPU"], ["CPU", "CUDA"]]
