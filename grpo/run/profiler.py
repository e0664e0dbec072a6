"""`--profile`: a trace of a few steps, and a table of where their time went.

The trace opens in a browser's tracing page; its ranges carry the names of time/* in metrics.jsonl.
Profiling slows a step down, so the table's seconds are those of the profiled steps, not of others.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from grpo.clock import STEP_PARTS
from grpo.settings.config import GRPOConfig
from process.ranks import world
from process.storage import write_text

FIRST, COUNT = 2, 3  # steps of a run that are looked at, counted from 1: the first one warms up
OPERATIONS = 15  # rows of the table


class StepProfiler:
    """Watches a few steps of a run; all methods do nothing outside of them."""

    def __init__(self, directory: Path, device: torch.device, start_step: int, total: int) -> None:
        """Watch steps FIRST to FIRST + COUNT - 1 of what is left, or the last ones of a short run.

        Args:
            directory: gets trace.json.gz and table.txt.
            device: that the run computes on.
            start_step: steps done before.
            total: of the run.
        """
        first = min(start_step + FIRST, max(start_step + 1, total - COUNT + 1))
        self._steps = range(first, min(first + COUNT, total + 1))
        self._directory, self._on_cuda = directory, device.type == "cuda"
        self._profile: profile | None = None
        self._range: record_function | None = None
        self._times: list[Mapping[str, float]] = []

    @classmethod
    def of(cls, config: GRPOConfig, run: Path, start_step: int, total: int) -> Self | None:
        """Return what watches a run's steps with --profile, else None; of several processes one."""
        if not (config.profile and world().is_first):
            return None
        return cls(run / "profile", torch.device(config.device), start_step, total)

    def start_step(self, step: int) -> Self:
        """Begin to watch if this is the first step of interest; steps count from 1."""
        if self._steps and step == self._steps[0]:
            activities = [ProfilerActivity.CPU]
            if self._on_cuda:
                activities.append(ProfilerActivity.CUDA)
            self._profile = profile(activities=activities)
            self._profile.__enter__()
        return self

    def part(self, name: str) -> None:
        """Name what follows, until the next call."""
        self._leave_range()
        if self._profile is not None:
            self._range = record_function(f"step/{name}")
            self._range.__enter__()

    def end_step(self, step: int, metrics: Mapping[str, Any]) -> str | None:
        """Return the table when the last step of interest has ended, and write it and the trace."""
        self._leave_range()
        if self._profile is None:
            return None
        self._times.append({name: metrics[f"time/{name}"] for name in (*STEP_PARTS, "step")})
        if step != self._steps[-1]:
            return None
        self._profile.__exit__(None, None, None)
        finished, self._profile = self._profile, None
        self._directory.mkdir(parents=True, exist_ok=True)
        finished.export_chrome_trace(str(self._directory / "trace.json.gz"))
        table = self._table(finished)
        write_text(self._directory / "table.txt", table + "\n")
        return f"{table}\n(trace and table: {self._directory})"

    def _leave_range(self) -> None:
        if self._range is not None:
            self._range.__exit__(None, None, None)
            self._range = None

    def _table(self, finished: profile) -> str:
        """Return the parts of a mean step, then the operations that cost most by themselves."""
        count = len(self._times)
        means = {name: sum(t[name] for t in self._times) / count for name in self._times[0]}
        first, last = self._steps[0], self._steps[-1]
        lines = [f"where the time of steps {first} to {last} went, seconds per step (profiled):"]
        lines += [
            f"  {name:<44} {means[name]:9.4f}  {means[name] / means['step']:6.1%}"
            for name in (*STEP_PARTS, "step")
        ]
        key = "self_device_time_total" if self._on_cuda else "self_cpu_time_total"
        events = [e for e in finished.key_averages() if not e.key.startswith("step/")]
        events = [e for e in events if not e.key.startswith("ProfilerStep")]
        total = sum(getattr(event, key) for event in events)
        events.sort(key=lambda event: getattr(event, key), reverse=True)
        lines.append("operations by their own time                      seconds   share    calls")
        lines += [
            f"  {event.key[:44]:<44} {getattr(event, key) / count / 1e6:9.4f}"
            f"  {getattr(event, key) / total:6.1%} {event.count / count:8.0f}"
            for event in events[:OPERATIONS]
        ]
        return "\n".join(lines)
