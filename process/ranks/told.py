"""How a process's work ended, as the others are told of it."""

import signal
from typing import Any

from process.memory import DeviceMemoryError, MemoryRanOutError
from process.signals import requests

# The kinds of error that commands explain; any other comes to the other ranks as a `ToldError`.
_KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (ValueError, OSError, FloatingPointError, DeviceMemoryError, MemoryRanOutError)
}


class ToldError(RuntimeError):
    """An error of another process that no message explains; its traceback is printed there."""


def outcome(error: BaseException | None) -> dict[str, Any]:
    """Return what the others need to know of an error, or of a signal, that ended the work here."""
    number = requests.number if requests.number is not None and not requests.is_served else None
    is_signal = isinstance(error, KeyboardInterrupt)
    if is_signal:
        number = getattr(error, "number", signal.SIGINT)
    return {
        "signal": number,
        "ends": is_signal,  # now; else where it is whole
        "kind": None if error is None or is_signal else _kind(error),
        "text": "" if error is None else text_of(error),
        "notes": list(getattr(error, "__notes__", [])),
    }


def as_told(rank: int, outcome: dict[str, Any]) -> Exception:
    """Return the error of another rank, as far as it can be told."""
    told = _KINDS.get(outcome["kind"], ToldError)(f"rank {rank}: {outcome['text']}")
    for note in outcome["notes"]:
        told.add_note(note)
    return told


def text_of(error: BaseException) -> str:
    """Return what an error says; of one that nobody has worded, its kind, too."""
    known = isinstance(error, tuple(_KINDS.values()))
    return f"{error}" if known else f"{type(error).__name__}: {error}"


def _kind(error: BaseException) -> str:
    known = (name for name, kind in _KINDS.items() if isinstance(error, kind))
    return next(known, type(error).__name__)
