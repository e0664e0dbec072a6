"""Steps without an update: their gradient was NaN or inf.

One overflow on an odd row is no reason to end a run: the update is left out, weights and moments
stay as they were, and the run goes on with the next rows. The step counts as one that is done, so
that data order and learning rate move on as ever; AdamW's own count of updates does not. Where it
happens again and again it is not the row: after `limit` such steps in a row the run saves and
stops.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SHOWN_EXAMPLES = 8


@dataclass
class BadSteps:
    """How many there were, and how many just now in a row; a resumed run counts on."""

    limit: int
    total: int = 0
    in_a_row: int = 0

    @classmethod
    def of(cls, limit: int, state: Mapping[str, Any]) -> "BadSteps":
        """Return the counts that a checkpoint's state.json holds, 0 of a run that begins."""
        return cls(limit, **state.get("bad_steps", {}))

    @property
    def state(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        return {"total": self.total, "in_a_row": self.in_a_row}

    @property
    def are_too_many(self) -> bool:
        """Whether the run is to stop."""
        return self.in_a_row >= self.limit

    def count(self, grad_norm: float, examples: Sequence[Any], *, skipped: bool) -> str | None:
        """Count a step; return a warning if it was one of them.

        Args:
            grad_norm: of the update that was skipped.
            examples: of the step.
            skipped: whether an update was left out.
        """
        if not skipped:
            self.in_a_row = 0
            return None
        self.total += 1
        self.in_a_row += 1
        return (
            f"the gradient's norm is {grad_norm}: the update is left out ({self.in_a_row} in a row,"
            f" the run stops at {self.limit}); the step's examples: {_names(examples)}"
        )

    def stop_message(self, done: int, checkpoint: Any) -> str:
        """Return why the run stops after ``done`` steps, which this checkpoint holds."""
        first = done - self.in_a_row + 1
        steps = f"step {done}" if first == done else f"steps {first} to {done}"
        return (
            f"the gradient was NaN or inf in {self.in_a_row} steps in a row ({steps}), and their"
            " updates were left out. The warnings above name the examples. Start a new run from"
            f" --model {checkpoint} with a lower --learning-rate or, in half precision, with"
            " --dtype float32 (from an earlier checkpoint or the start model if the first of these"
            " steps follows an update that was too large), or go on with a higher --max-bad-steps"
        )


def _names(examples: Sequence[Any]) -> str:
    names = [str(getattr(example, "id", example)) for example in examples]
    more = len(names) - _SHOWN_EXAMPLES
    return ", ".join(names[:_SHOWN_EXAMPLES]) + (f" and {more} more" if more > 0 else "")
