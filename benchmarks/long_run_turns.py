"""The trainings of benchmarks/long_run.py: each stopped between two steps, and what it left."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from common import ROOT


class Turns:
    """A training that can be stopped between two steps; a context manager."""

    def __init__(self, readings: Path, turns: int, *flags: str) -> None:
        self._told, done = os.pipe()
        go, self._let = os.pipe()
        script = [sys.executable, str(ROOT / "benchmarks" / "long_run_process.py")]
        given = [str(readings), *map(str, (turns, done, go)), *flags]
        with readings.with_suffix(".log").open("w") as log:
            self._process = subprocess.Popen(
                [*script, *given], pass_fds=(done, go), stdout=log, stderr=log, cwd=ROOT
            )
        os.close(done)
        os.close(go)
        self._log = readings.with_suffix(".log")

    def __enter__(self) -> Self:
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._told)
        os.close(self._let)

    def wait(self) -> None:
        """Return once its step is over."""
        if not os.read(self._told, 1):
            raise RuntimeError(f"it ended:\n{self._log.read_text()}")

    def step(self) -> None:
        """Let it take one step."""
        os.write(self._let, b".")
        self.wait()

    def end(self) -> None:
        """Let it go from its last step to its end."""
        os.write(self._let, b".")
        if self._process.wait():
            raise RuntimeError(f"it failed:\n{self._log.read_text()}")


@dataclass(frozen=True)
class Ran:
    """What one training left: readings and metrics by step."""

    readings: dict[int, dict[str, Any]]
    metrics: dict[int, dict[str, Any]]

    @classmethod
    def of(cls, readings: Path, run: Path) -> Self:
        """Read it from its files."""
        return cls(*({row["step"]: row for row in map(json.loads, file.open())}
                     for file in (readings, run / "metrics.jsonl")))  # fmt: skip

    def values(self, name: str, steps: range) -> list[float]:
        """Return a reading, where there is one, of each of the steps."""
        rows = [self.readings[step] for step in steps]
        return [row[name] for row in rows if name in row]
