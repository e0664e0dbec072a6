"""Doing what a protocol still lacks, in an order in which a part of it is useful.

Zero-shot first, then the first seed of every slice, then the repeats; each checkpoint is scored on
its axis' test files at once. What is done is skipped, what was broken off goes on: start it again.
Several processes that torchrun started train and ask each model together; what lies in the folder
is looked at, and written, by the first. Arms side by side: side_by_side.py.
"""

import contextlib
import gc
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
from process.ranks import world
from process.storage import remove_folder

if TYPE_CHECKING:  # imports torch, for which no mistake in the file or the data should wait
    from models.policy import Policy

Load = Callable[[str], "Policy"]


@dataclass(frozen=True)
class Training:
    """How a run is trained: train.py's functions, which this package does not import."""

    run: Callable[[GRPOConfig], Any]
    resume: Callable[[Path, Mapping[str, Any]], Any]  # of a run's directory, and what differs


class RunFailedError(ValueError):
    """A run ended with an error, which was printed."""

    def __init__(self, arm: Arm, reason: str) -> None:
        """Keep what was printed."""
        super().__init__(f"the run {arm.name} ended with status 2: its message is above")
        self.reason = reason


@dataclass(frozen=True)
class ProtocolPart:
    """What is done at a time: a mode of the start model on an axis, or an arm, to its last cell."""

    name: str
    arm: Arm | None = None
    zero_shot: tuple[str, str] | None = None  # axis, mode
    group: str = ""  # the results are written between two groups of parts


@dataclass
class Runner:
    """Trains and asks, one model at a time, in this process."""

    schedule: Schedule
    training: Training
    load: Load  # checkpoint -> policy, to be asked
    device: str | None = None  # what --device says, for runs that go on
    log: Path | None = None  # where what the runs print goes
    progress: TimeLeft | None = None  # None: one of all that is missing

    def run(self, on_part: Callable[[], None]) -> None:
        """Do all that is missing.

        Args:
            on_part: called between zero-shot and the first seed, and between seeds.

        Raises:
            ValueError: a run ended with an error.
            KeyboardInterrupt: as it came; a run under way has saved its steps.
        """
        looking = "counting what is missing"
        self.progress = TimeLeft(world().by_the_first(looking, lambda: missing(self.schedule)))
        parts = all_parts(self.schedule)
        for before, part in zip([None, *parts], parts, strict=False):
            if before is not None and before.group != part.group:
                on_part()
            self.do(part)

    def do(self, part: ProtocolPart) -> None:
        """Do what is missing of one part."""
        schedule = self.schedule
        if part.zero_shot is not None:
            matrix, (_, mode) = schedule.zero_shot[part.zero_shot], part.zero_shot
            if matrix.to_do():
                print(part.name, file=sys.stderr)
                self._fill(matrix, mode)
        elif (arm := part.arm) is not None:
            self._train(arm)
            self._fill(schedule.matrix(arm), arm.mode)
            if schedule.config.delete_checkpoints:
                run = arm.path(schedule.output)
                world().by_the_first("deleting weights", lambda: delete_checkpoints(run))

    def _fill(self, matrix: Matrix, mode: str) -> None:
        size = self.schedule.config.batch_size
        matrix.fill(self.load, batch_size=size, progress=self.progress, kind=f"cell {mode}")

    def _train(self, arm: Arm) -> None:
        schedule, first = self.schedule, world().by_the_first
        run = arm.path(schedule.output)
        state = first("looking at a run", lambda: schedule.state(arm))
        if state != TRAINED:
            assert self.progress is not None, "an arm is trained as a part"
            print(f"training {arm.name}", file=sys.stderr)
            with (
                self.progress.unit(f"train {arm.method}", f"trained {arm.name}"),
                _logged(arm, self.log),
            ):
                self._train_on(arm, run, state)
        first("finishing a run", lambda: finish(run, schedule.steps(arm), schedule.examples[arm]))

    def _train_on(self, arm: Arm, run: Path, state: str) -> None:
        settings = arm_settings(self.schedule.config, arm, self.schedule.source(arm))
        if state == STARTED:
            changes = {name: settings[name] for name in PLACES if name in settings}
            changes |= {"device": self.device} if self.device else {}
            self.training.resume(run, changes)
            return
        world().by_the_first("clearing the place of a run", lambda: _remove_broken(run))
        self.training.run(config_of({**settings, "output_dir": str(run)}, None))


def all_parts(schedule: Schedule) -> list[ProtocolPart]:
    """Return every part in the order of work."""
    parts = [
        ProtocolPart(f"{axis}: zero-shot {mode}", zero_shot=(axis, mode), group="zero-shot")
        for axis, mode in schedule.zero_shot
    ]
    return parts + [ProtocolPart(arm.name, arm, group=f"seed {arm.seed}") for arm in schedule.arms]


def missing(schedule: Schedule) -> dict[str, int]:
    """Return how much is to be done, by the kinds that `TimeLeft` counts."""
    units = Counter(kind for kind, _ in schedule.missing_cells())
    return units + Counter(f"train {arm.method}" for arm in schedule.missing_runs())


def is_missing(schedule: Schedule, part: ProtocolPart) -> bool:
    """Return whether anything of a part is to be done, deleting weights included."""
    if part.zero_shot is not None:
        return bool(schedule.zero_shot[part.zero_shot].pending())
    assert part.arm is not None, "a part is one or the other"
    run = part.arm.path(schedule.output)
    if schedule.state(part.arm) != TRAINED or not (run / "trained.json").is_file():
        return True
    weights = schedule.config.delete_checkpoints and (run / "checkpoints").is_dir()
    return weights or bool(schedule.matrix(part.arm).pending())


def _remove_broken(run: Path) -> None:
    """Remove a run that ended before its first checkpoint, if there is one."""
    with owned(run, temporary=True):  # no other process may be at work on it
        remove_folder(run)


@contextlib.contextmanager
def _logged(arm: Arm, log: Path | None) -> Iterator[None]:
    """Put what a run prints into the log; say on standard error why it ended, if it did.

    Raises:
        RunFailedError: the run ended with an error.
        KeyboardInterrupt: as it came.
    """
    place = log if log is not None and world().is_first else Path(os.devnull)
    try:
        with (
            place.open("a", encoding="utf-8", errors=ERRORS, buffering=1) as stream,
            contextlib.redirect_stdout(ForgivingStream(stream)),
        ):
            yield
    except (ValueError, OSError, FloatingPointError, DeviceMemoryError) as error:
        print(f"error: {explained(error)}", file=sys.stderr)
        raise RunFailedError(arm, explained(error)) from error
    finally:
        gc.collect()  # two models may not fit
