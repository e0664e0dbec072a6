"""Memory that ran out, called that, whatever raised the error and whatever was made of it.

PyTorch says that a GPU is full by an error of its own, and that this machine is by a RuntimeError
like any other; Python, numpy and Pillow raise MemoryError; the system refuses with ENOMEM. On their
way out they may have become a ValueError about a reward, a file or a model: what is wrong is the
memory all the same, so an error's causes are looked at, too.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

_WORDS = ("DefaultCPUAllocator: ", "Cannot allocate memory", "std::bad_alloc")


class MemoryRanOutError(MemoryError, ValueError):
    """A MemoryError whose text says while what, and what to do; a user's command ends with it."""


class DeviceMemoryError(RuntimeError):
    """The device is out of memory; the message names what to lower."""


class FullMemory(NamedTuple):
    """Whose memory is full, and the first line of the error that said so."""

    is_device: bool  # a GPU's, else this machine's
    reason: str


def full_memory(error: BaseException | None) -> FullMemory | None:
    """Return whose memory an error, or one that it came from, says is full; None: none's.

    Our own two errors have been explained already.

    >>> full_memory(MemoryError())
    FullMemory(is_device=False, reason='MemoryError')
    >>> full_memory(ValueError("no such file"))
    """
    while error is not None and not isinstance(error, (MemoryRanOutError, DeviceMemoryError)):
        is_device = type(error).__name__ == "OutOfMemoryError"  # of torch, not imported for it
        if is_device or _is_of_machine(error):
            return FullMemory(is_device, (str(error).splitlines() or [type(error).__name__])[0])
        error = error.__cause__
    return None


def _is_of_machine(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # a ValueError quotes what others raised
    return not isinstance(error, ValueError) and any(word in str(error) for word in _WORDS)


def ran_out(part: str, reason: str, lower: str) -> str:
    """Return the message that this machine's memory is full."""
    return f"this machine's memory ran out, during {part} ({reason}): free memory, or {lower}"


@contextmanager
def during(part: str, lower: str) -> Iterator[None]:
    """Name the part of a command in which this machine's memory ran out, and what to lower.

    Raises:
        MemoryRanOutError: it did.
    """
    try:
        yield
    except Exception as error:
        full = full_memory(error)
        if full is None or full.is_device:
            raise
        raise MemoryRanOutError(ran_out(part, full.reason, lower)) from error
