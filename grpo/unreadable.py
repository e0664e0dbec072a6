"""Rows that cannot be read when their turn comes: how many of them are too many.

A file can be damaged or vanish after it was checked. That costs its row, in training and in an
evaluation; but where row after row fails, it is not the rows, and going on would be worthless.
"""

LIMIT = 50  # rows, one after the other
# What comes of a row; anything else is a mistake of ours. Memory that ran out ends the work.
ROW_ERRORS = (ValueError, OSError, MemoryError)


class UnreadableRows:
    """Counts the rows that failed one after the other, up to the limit of patience."""

    def __init__(self) -> None:
        """Start with none."""
        self._num_in_a_row = 0

    def add(self, error: BaseException) -> None:
        """Count a row that could not be read.

        Raises:
            MemoryError: the error itself, where the memory ran out: that is no fault of the row.
            ValueError: it is the last of LIMIT in a row.
        """
        if isinstance(error, MemoryError):
            raise error
        self._num_in_a_row += 1
        if self._num_in_a_row >= LIMIT:
            raise ValueError(
                f"{self._num_in_a_row} rows in a row could not be read, the last one: {error}; are"
                " the images still there?"
            ) from error

    def clear(self) -> None:
        """Note a row that could be read."""
        self._num_in_a_row = 0
