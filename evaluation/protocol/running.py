"""Doing what a protocol still lacks, in an order in which a part of it is useful.

Zero-shot first, then the first seed of every slice, then the repeats; each checkpoint is scored on
its axis' test files at once. What is done is skipped, what was broken off goes on: start it again.
"""

import contextlib
import gc
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.asking.progress import TimeLeft
from evaluation.matrix import Matrix
from evaluation.protocol.arms import (
    PLACES,
    STARTED,
    TRAINED,
    Arm,
    arm_settings,
    delete_checkpoints,
    finish,
    flags_of,
)
from evaluation.protocol.schedule import Schedule
from process.signals import Interrupted

if TYPE_CHECKING:  # imports torch, for which no mistake in the file or the data should wait
    from models.policy import Policy

Train = Callable[[Sequence[str]], int]  # train.py's main
Load = Callable[[str], "Policy"]


@dataclass
class Runner:
    """Trains and asks, one model at a time, in this process."""

    schedule: Schedule
    train: Train  # what it prints goes to <output>/train.log
    load: Load  # checkpoint -> policy, to be asked
    device: str | None = None  # what --device says, for runs that go on
    _progress: TimeLeft = field(init=False)

    def run(self, on_part: Callable[[], None]) -> None:
        """Do all that is missing.

        Args:
            on_part: called after zero-shot, after the first seed and after each repeat.

        Raises:
            ValueError: a run ended with an error.
            KeyboardInterrupt: as it came; a run under way has saved its steps.
        """
        schedule = self.schedule
        units = Counter(kind for kind, _ in schedule.missing_cells())
        units += Counter(f"train {arm.method}" for arm in schedule.missing_runs())
        self._progress = TimeLeft(units)
        for (axis, mode), matrix in schedule.zero_shot.items():
            if matrix.pending():
                print(f"{axis}: zero-shot {mode}", file=sys.stderr)
                self._fill(matrix, mode)
        on_part()
        for number, arm in enumerate(schedule.arms):
            if number and arm.seed != schedule.arms[number - 1].seed:
                on_part()
            self._train(arm)
            self._fill(schedule.matrix(arm), arm.mode)
            if schedule.config.delete_checkpoints:
                delete_checkpoints(arm.path(schedule.output))

    def _fill(self, matrix: Matrix, mode: str) -> None:
        size = self.schedule.config.batch_size
        matrix.fill(self.load, batch_size=size, progress=self._progress, kind=f"cell {mode}")

    def _train(self, arm: Arm) -> None:
        schedule = self.schedule
        run, state = arm.path(schedule.output), schedule.state(arm)
        if state != TRAINED:
            settings = arm_settings(schedule.config, arm, schedule.source(arm))
            if state == STARTED:
                places = {name: settings[name] for name in PLACES if name in settings}
                flags = ["--resume", str(run), *flags_of(places)]
                flags += ["--device", self.device] if self.device else []
            else:
                shutil.rmtree(run, ignore_errors=True)  # it ended before its first checkpoint
                flags = [*flags_of(settings), "--output-dir", str(run)]
            print(f"training {arm.name}", file=sys.stderr)
            with self._progress.unit(f"train {arm.method}", f"trained {arm.name}"):
                _call(self.train, flags, arm, schedule.output / "train.log")
        finish(run, schedule.steps(arm), schedule.examples[arm])


def _call(train: Train, flags: Sequence[str], arm: Arm, log: Path) -> None:
    with log.open("a", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
        status = train(flags)
    gc.collect()  # two models may not fit
    if status > 128:
        raise Interrupted(status - 128)
    if status:
        raise ValueError(f"the run {arm.name} ended with status {status}: its message is above")
