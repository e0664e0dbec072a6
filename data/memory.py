"""Memory that ran out, called that: nothing is known to be wrong with what was being read."""


class MemoryRanOutError(MemoryError, ValueError):
    """A MemoryError whose text says while what, and what to do; a user's command ends with it."""
