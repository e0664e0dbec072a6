"""The files of a run: run.json, metrics.jsonl, rollouts.jsonl, eval/. Checkpoints: checkpoint.py.

A line is written when its step is over and never changed; files that are replaced are replaced
whole. Of several processes the first one does it all, and the others are told: each of them calls
the same, and has the same path.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from grpo.run.free_place import check_empty, free_place, own_fresh
from grpo.run.line_log import Found, keep_steps
from grpo.run.lost_lines import noted
from grpo.run.run_json import check_run_json
from grpo.run.start_point import set_aside_newer
from process.disk import make_folder, sync_folder
from process.lines import Lines
from process.owner import owned
from process.ranks import first_alone, world
from process.ranks.notes import note
from process.regular import open_regular_text, read_text
from process.storage import sweep, write_json

BEGUN = "run directory"  # what a start of several processes notes for the next one
_FOLDERS = ("eval", "checkpoints", "figures")


class RunDirectory:
    """One run's folder: `choose` names a fresh one, `open` goes on in an old one."""

    def __init__(self, path: Path, *, is_fresh: bool = False, is_default: bool = False) -> None:
        """Name the folder; nothing is read or written yet."""
        self.path = path
        self._is_fresh, self._is_default = is_fresh, is_default

    @cached_property
    def _metrics(self) -> Lines:
        return Lines(self.path / "metrics.jsonl")

    @cached_property
    def _rollouts(self) -> Lines:
        return Lines(self.path / "rollouts.jsonl")

    @classmethod
    def choose(cls, output_dir: str, model: str) -> "RunDirectory":
        """Return the folder of a fresh run: the given one, or runs/<date>-<time>-<model>.

        Nothing is made yet: `owned` does that.

        Raises:
            ValueError: the folder is another process's, holds something, is none, or cannot be
                made.
        """
        return cls(Path(free_place(output_dir, model)), is_fresh=True, is_default=not output_dir)

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Keep other processes out of the folder as long as the block runs.

        A fresh run's folder is made, under the next free name where another run has taken a default
        one, and goes again if nothing is written in the block.

        Raises:
            ValueError: another process works there, or it cannot be made, or holds something by
                now.
        """
        with ExitStack() as stack:
            self.path = Path(self._take(stack))
            yield

    @first_alone("taking the output directory")
    def _take(self, stack: ExitStack) -> str:
        """Own the folder until the stack is left; return its name."""
        place = self.path
        if self._is_default:
            place = own_fresh(place, stack)
        else:
            stack.enter_context(owned(place))
            if self._is_fresh:
                check_empty(place)
        for name in _FOLDERS:
            sweep(place / name)
        return str(place)

    @first_alone("beginning the run")
    def begin(self, description: Mapping[str, Any], step: int) -> None:
        """Write run.json; a run that goes on forgets what it has written after ``step``.

        Newer checkpoints than that step's are set aside.

        Args:
            description: run.json.
            step: after which the run goes on; 0 of a fresh one.
        """
        if description["resumed"]:
            set_aside_newer(self.path, step)
            found = self.cut_after(step, _rollouts_per_step(description["config"]))
            description = noted(description, self.path, found)
            print(_resumed(step, description["total_steps"], description["config"]))
        self.write(description)
        note(BEGUN, str(self.path.absolute()))  # where torchrun starts us anew
        print(f"run directory: {self.path}")

    @classmethod
    def open(cls, path: str) -> tuple["RunDirectory", dict[str, Any]]:
        """Return an existing run's folder and its run.json.

        Raises:
            ValueError: there is no folder or no readable run.json.
        """
        return cls(Path(path)), _description(path)

    @first_alone("reading run.json")
    def read(self) -> dict[str, Any] | None:
        """Return run.json, or None where the run has not begun."""
        file = self.path / "run.json"
        return json.loads(read_text(file)) if file.is_file() else None

    @first_alone("writing run.json")
    def write(self, description: Mapping[str, Any]) -> None:
        """Write run.json, whole."""
        write_json(self.path / "run.json", description)

    @first_alone("writing the logs")
    def append_step(
        self, metrics: Mapping[str, Any], rollouts: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        """Add a step's line to metrics.jsonl and its lines to rollouts.jsonl; NaN becomes null.

        Raises:
            OSError: they cannot be written, such as on a full disk. Then no file has half a line,
                and `lines_to_disk` tries again.
        """
        self._metrics.add([metrics])
        self._rollouts.add(rollouts)
        self._metrics.write()
        self._rollouts.write()

    @first_alone("writing the logs")
    def lines_to_disk(self) -> None:
        """Wait until the lines of all steps are on the disk: before a checkpoint counts them.

        Raises:
            OSError: as `append_step`.
        """
        self._metrics.to_disk()
        self._rollouts.to_disk()
        sync_folder(self.path)

    def read_metrics(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of metrics.jsonl, if there are any; on the first process alone."""
        file = self.path / "metrics.jsonl"
        if world().is_first and file.is_file():
            with open_regular_text(file) as lines:
                yield from map(json.loads, lines)

    @first_alone("writing an evaluation")
    def write_evaluation(self, step: int, summary: Mapping[str, Any]) -> None:
        """Write eval/step-000100.json."""
        folder = self.path / "eval"
        make_folder(folder)
        write_json(folder / f"step-{step:06d}.json", summary)

    @first_alone("reading an evaluation")
    def read_evaluation(self, step: int) -> dict[str, Any] | None:
        """Return what `write_evaluation` wrote for a step, or None."""
        file = self.path / "eval" / f"step-{step:06d}.json"
        return json.loads(read_text(file)) if file.is_file() else None

    @first_alone("cutting the logs")
    def cut_after(self, step: int, rollouts_per_step: int) -> dict[str, Found]:
        """Forget all that was written after ``step``; return what lines stand before, by file.

        Args:
            step: the last one that is kept.
            rollouts_per_step: 0 where a step samples nothing, and there is no such file.
        """
        found = {"metrics.jsonl": keep_steps(self._metrics.file, step, 1)}
        if rollouts_per_step:
            file = self._rollouts.file
            found["rollouts.jsonl"] = keep_steps(file, step, rollouts_per_step)
        evaluations = self.path / "eval"
        for file in evaluations.glob("step-*.json"):
            if (number := re.fullmatch(r"step-(\d{6,})", file.stem)) and int(number[1]) > step:
                file.unlink()
        if evaluations.is_dir():
            sync_folder(evaluations)
        return found


def _resumed(step: int, total: int, config: Mapping[str, Any]) -> str:
    """Return what a run says that goes on: what changes with its length, if that is another now."""
    schedules = {"the learning rate": "lr_schedule", "beta": "beta_schedule"}
    usual = {"lr_schedule": "linear", "beta_schedule": "constant"}  # of a run.json without them
    moved = [
        name
        for name, setting in schedules.items()
        if config.get(setting, usual[setting]) != "constant"
    ]
    text = f"resumed after step {step} of {total}"
    if moved:
        text += f"; {' and '.join(moved)} follow{'s' * (len(moved) == 1)} {total} steps"
    return text


def _rollouts_per_step(config: Mapping[str, Any]) -> int:
    samples = config["method"] == "grpo"
    return config["prompts_per_step"] * config["group_size"] if samples else 0


@first_alone("reading run.json")
def _description(path: str) -> dict[str, Any]:
    file = Path(path) / "run.json"
    try:
        description = json.loads(read_text(file))
        check_run_json(description)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"--resume {path}: {file} cannot be read ({type(error).__name__}: {error}): name"
            " the directory of a run, the one with run.json and checkpoints/"
        ) from error
    return description
