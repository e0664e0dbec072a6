"""When the next checkpoint is due: after so many steps, or so long after the last one."""

from time import monotonic

from grpo.settings.save_every import seconds_between
from process.ranks import world


class SavePace:
    """Knows when the last checkpoint was written; the first process's clock counts for all."""

    def __init__(self, every: int | str) -> None:
        """Begin to count; ``every`` is --save-every."""
        self._steps = every if isinstance(every, int) else 0
        self._seconds = seconds_between(every)
        self.saved()

    def saved(self) -> None:
        """Note that a checkpoint has just been written."""
        self._last = monotonic()

    def is_due(self, done: int) -> bool:
        """Return whether a checkpoint is due after so many steps; all processes ask together."""
        if self._seconds is None:
            return self._steps > 0 and done % self._steps == 0
        return bool(world().told(monotonic() - self._last >= self._seconds))
