"""A run under way: what it says when it is broken off, and what it returns when it is done."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from grpo.run.best import Best
from grpo.run.directory import RunDirectory
from grpo.run.generators import seeded
from grpo.run.start_point import WEIGHTS_ONLY, has_weights_only, newest_checkpoint, step_of
from grpo.settings.config import GRPOConfig
from grpo.settings.reward_code import TRUST, foreign_files
from process.called import command_line
from process.memory import DeviceMemoryError, FullMemory, MemoryRanOutError, full_memory
from process.signals import saying_kept


class Progress(Protocol):
    """As `grpo.trainer.Trainer`."""

    total_steps: int
    done: int  # steps
    under_way: str  # the part of the run
    best: Best | None


@dataclass(frozen=True)
class FinishedRun:
    """What a run has left; the return value of `train.run` and `train.resume`."""

    directory: Path  # with run.json, metrics.jsonl, report.html ..
    steps: int  # in all, those of before a resumption included
    checkpoint: Path  # of the last step, a directory that evaluate.py's --model takes
    before: Mapping[str, Any] | None  # evaluation of the start model, as eval/step-000000.json
    after: Mapping[str, Any] | None  # evaluation after the last step
    best: Best | None  # the evaluation with the highest accuracy: its step and its accuracy


@dataclass
class Session:
    """A context: an error or a signal that leaves it says what is saved and how to go on.

    Inside, the random generators that a reward may draw from are seeded.
    """

    config: GRPOConfig
    run: RunDirectory
    trainer: Progress | None = None  # once there is one: before, nothing can be saved
    contexts: ExitStack = field(default_factory=ExitStack)  # left when the run is over

    def __enter__(self) -> Self:
        self.contexts.enter_context(saying_kept(self.saved))  # for signals
        self.contexts.enter_context(seeded(self.config.seed, torch_too=True))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Add the note; of memory that ran out, to an error that explains it."""
        self.contexts.__exit__(kind, error, trace)
        if not isinstance(error, Exception):
            return
        if (full := full_memory(error)) is not None:
            kind_of_memory = DeviceMemoryError if full.is_device else MemoryRanOutError
            explained = kind_of_memory(self.out_of_memory(full))
            self._add_note(explained)
            raise explained from error
        self._add_note(error)

    def _add_note(self, error: BaseException) -> None:
        if (saved := self.saved()) is not None:
            error.add_note(saved)

    def saved(self) -> str | None:
        """Return how much of a run that has begun is saved, what is not, and how to go on."""
        if self.trainer is None:
            return None
        try:
            newest = newest_checkpoint(self.run.path)
        except ValueError:
            if not (self.run.path / "run.json").is_file():  # nothing is there
                return None
            lost = self._lost(0)
            return f"no step is saved{lost}: remove {self.run.path}, and start the run anew"
        saved, total = step_of(newest), self.trainer.total_steps
        if has_weights_only(newest):
            return (
                f"of {saved:,} of {total:,} steps the weights are saved ({WEIGHTS_ONLY}), which no"
                f" run goes on from{self._lost(saved)}; a new one can start with --model {newest}"
            )
        trust = [TRUST] if foreign_files(self.config.rewards, self.run.path) else []
        command = command_line("train", "--resume", str(self.run.path), *trust)
        return f"{saved:,} of {total:,} steps are saved{self._lost(saved)}, go on with: {command}"

    def _lost(self, saved: int) -> str:
        assert self.trainer is not None
        lost = self.trainer.done - saved
        if lost <= 0:
            return ""
        writing = self.trainer.under_way == "saving"
        why = f" (step-{self.trainer.done:06d} was being written)" if writing else ""
        return f" and {lost:,} more are not kept{why}"

    def out_of_memory(self, full: FullMemory) -> str:
        """Return the message that names whose memory is full, during what, and what to lower."""
        config = self.config
        samples = config.samples
        on_cpu = config.reference_device == "cpu"
        at_any_time, anew = [], [f"a smaller --prompts-per-step{', --group-size' * samples}"]
        if full.is_device or not config.device.startswith("cuda"):
            at_any_time.append("lower --micro-batch-tokens")
            at_any_time += [] if config.gradient_checkpointing else ["--gradient-checkpointing"]
            anew += [] if config.freeze_vision else ["--freeze-vision"]
        if config.has_reference and full.is_device and not on_cpu:
            at_any_time.append("--reference-device cpu")
        # one of the two: together they are refused
        if full.is_device and not config.offload_optimizer and config.optimizer == "adamw":
            at_any_time.append("--offload-optimizer")
            anew.append("--optimizer adamw_8bit")
        if not full.is_device:
            at_any_time.insert(0, "free memory")
        anew[0] += " or --image-size"
        whose = "the device is out of memory" if full.is_device else "this machine's memory ran out"
        part = self.trainer.under_way if self.trainer else "loading"
        return (
            f"{whose}, during {part} ({full.reason}). At any time, also with --resume:"
            f" {', '.join(at_any_time)}. Only in a new run: {', or '.join(anew)}"
        )

    def finished(self) -> FinishedRun:
        """Return what the run has left, once its trainer is through."""
        assert self.trainer is not None
        steps, place = self.trainer.total_steps, self.run.path
        return FinishedRun(
            directory=place,
            steps=steps,
            checkpoint=place / "checkpoints" / f"step-{steps:06d}",
            before=self.run.read_evaluation(0),
            after=self.run.read_evaluation(steps),
            best=self.trainer.best,
        )
