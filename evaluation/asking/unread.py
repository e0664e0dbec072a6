"""Rows that could not be read when their turn came: said, counted, and too many end the work."""

from collections.abc import Iterable

from grpo.unreadable import UnreadableRows
from process.bars import warn

NOT_ANSWERED = "not answered, counted as wrong"


class Unread:
    """Says which rows could not be read, in the order in which one process comes to them."""

    def __init__(self, consequence: str) -> None:
        """Take what becomes of such a row, to begin the warning with."""
        self._consequence = consequence
        self._rows = UnreadableRows()

    def note(self, reasons: Iterable[str | None]) -> None:
        """Say and count the rows of a batch that have a reason; None: it could be read.

        Raises:
            ValueError: too many could not, one after the other.
        """
        for reason in reasons:
            if reason is None:
                self._rows.clear()
            else:
                self._rows.add(ValueError(reason))
                warn(f"{self._consequence}: {reason}")


def reason_of(error: Exception) -> str:
    """Return why a row could not be read.

    Raises:
        MemoryError: the error itself, where the memory ran out: that is no fault of the row.
    """
    if isinstance(error, MemoryError):
        raise error
    return f"{error}"
