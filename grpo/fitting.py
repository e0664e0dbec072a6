"""A pass over micro-batches that is begun again with smaller ones where memory runs out.

How many tokens fit is not known before: rows, images and what else is on the device decide it. So
a pass that does not fit is dropped whole and run again with half the tokens per micro-batch, as are
all later ones of the run. The loss weights are the batch's, so the gradient stays the same.
"""

import gc
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import torch

from grpo.rollout import Part, Rollout
from grpo.settings.config import GRPOConfig
from process.bars import warn
from process.memory import FullMemory, full_memory
from process.ranks import world

_STATE = "micro_batch_tokens"


class TokenBudget:
    """The most tokens of a micro-batch: those asked for, until they turn out not to fit."""

    def __init__(self, config: GRPOConfig, taken: int = 0) -> None:
        """Start with --micro-batch-tokens, or with the ``taken`` that a run has come down to."""
        self._asked, self._on_cpu = config.micro_batch_tokens, not config.device.startswith("cuda")
        self.tokens = taken or self._asked

    @classmethod
    def of(cls, config: GRPOConfig, state: Mapping[str, Any]) -> Self:
        """Return that of a run that goes on from a checkpoint's state.json.

        Resumed with another --micro-batch-tokens, it starts with these.
        """
        match state.get(_STATE):
            case {"asked": config.micro_batch_tokens, "taken": int(taken)}:
                return cls(config, taken)
        return cls(config)

    @property
    def state(self) -> dict[str, Any]:
        """For state.json: what the run has come down to, if it has."""
        if self.tokens == self._asked:
            return {}
        return {_STATE: {"asked": self._asked, "taken": self.tokens}}

    def run(
        self,
        name: str,
        rollout: Rollout,
        work: Callable[[Part], None],
        *,
        groups: Iterable[int] | None = None,
        start: Callable[[], None] | None = None,
    ) -> None:
        """Do the work on every micro-batch of a rollout, in order; where it must be, all anew.

        What the work leaves in its own frame is gone with it, so that the next try has that memory.

        Args:
            name: of the pass, for the message.
            rollout: that is cut by `Rollout.parts`.
            work: on one micro-batch.
            groups: as for `Rollout.parts`.
            start: what is done before the first micro-batch, and makes undone what an earlier try
                has left.

        Raises:
            Exception: the work's own; also of memory that ran out where nothing smaller helps: a
                micro-batch of one row, the memory of the machine beside a GPU, or several
                processes, of which the others wait for this one's micro-batch.
        """
        groups = None if groups is None else list(groups)
        while True:
            part = None
            if start is not None:
                start()
            try:
                for part in rollout.parts(self.tokens, groups):
                    work(part)
                return
            except Exception as error:
                full = full_memory(error)
                if full is None or part is None or not self._can_be_less(full, part):
                    raise
                self._halve_below(part, name, full)
            # Only here the error is gone, and with it the frames that hold what it was about.
            gc.collect()
            if full.is_device:
                torch.cuda.empty_cache()  # blocks cut for the larger micro-batch

    def _can_be_less(self, full: FullMemory, part: Part) -> bool:
        helps = full.is_device or self._on_cpu
        return helps and len(part.rows) > 1 and world().size == 1

    def _halve_below(self, part: Part, name: str, full: FullMemory) -> None:
        before, needed = self.tokens, part.num_tokens
        while self.tokens >= needed:  # else this very micro-batch would come again
            self.tokens //= 2
        whose = "the device is out of memory" if full.is_device else "this machine's memory ran out"
        warn(
            f"{whose}, during {name} ({full.reason}): it is run again, and the run goes on, with"
            f" micro-batches of {self.tokens:,} tokens, not {before:,}: slower, the same gradient"
            f" (--micro-batch-tokens {self.tokens} starts with them)"
        )
