"""Doing what a protocol still lacks, in an order in which a part of it is useful.

Zero-shot first, then the first seed of every slice, then the repeats; each checkpoint is scored on
its axis' test files at once. What is done is skipped, what was broken off goes on: start it again.
"""

import contextlib
import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
)
from evaluation.protocol.schedule import Schedule
from grpo.settings import GRPOConfig, config_of
from process.command import explained
from process.memory import DeviceMemoryError
from process.output import ERRORS, ForgivingStream
from process.owner import owned
from process.storage import remove_folder

if TYPE_CHECKING:  # imports torch, for which no mistake in the file or the data should wait
    from models.policy import Policy

Load = Callable[[str], "Policy"]


@dataclass(frozen=True)
class Training:
    """How a run is trained: train.py's functions, which this package does not import."""

    run: Callable[[GRPOConfig], Any]
    resume: Callable[[Path, Mapping[str, Any]], Any]  # of a run's directory, and what differs


@dataclass
class Runner:
    """Trains and asks, one model at a time, in this process."""

    schedule: Schedule
    training: Training  # what it prints goes to <output>/train.log
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
            print(f"training {arm.name}", file=sys.stderr)
            with (
                self._progress.unit(f"train {arm.method}", f"trained {arm.name}"),
                _logged(arm, schedule.output / "train.log"),
            ):
                if state == STARTED:
                    changes = {name: settings[name] for name in PLACES if name in settings}
                    changes |= {"device": self.device} if self.device else {}
                    self.training.resume(run, changes)
                else:
                    with owned(run, temporary=True):  # no other process may be at work on it
                        remove_folder(run)  # it ended before its first checkpoint
                    self.training.run(config_of({**settings, "output_dir": str(run)}, None))
        finish(run, schedule.steps(arm), schedule.examples[arm])


@contextlib.contextmanager
def _logged(arm: Arm, log: Path) -> Iterator[None]:
    """Put what a run prints into the log; say on standard error why it ended, if it did.

    Raises:
        ValueError: the run ended with an error.
        KeyboardInterrupt: as it came.
    """
    try:
        with (
            log.open("a", encoding="utf-8", errors=ERRORS, buffering=1) as stream,
            contextlib.redirect_stdout(ForgivingStream(stream)),
        ):
            yield
    except (ValueError, OSError, FloatingPointError, DeviceMemoryError) as error:
        print(f"error: {explained(error)}", file=sys.stderr)
        raise ValueError(f"the run {arm.name} ended with status 2: its message is above") from error
    finally:
        gc.collect()  # two models may not fit
