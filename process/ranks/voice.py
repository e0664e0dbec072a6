"""What one of several processes prints: the first one all, the others nothing."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from process.output import ForgivingStream
from process.ranks.place import place
from process.ranks.told import ToldError

_LONGEST = 20_000  # characters of an error that are remembered


class Remembering(ForgivingStream):
    """A stream that knows the error which was written to it last."""

    def __init__(self, stream: Any, *, is_silent: bool) -> None:
        """Pass on what is written, or drop it."""
        super().__init__(stream)
        self._is_silent = is_silent
        self.words = ""

    @property
    def drawing(self) -> Any:
        """Where bars are drawn."""
        return self if self._is_silent else self._stream.drawing  # type: ignore[attr-defined]

    def isatty(self) -> bool:
        """Return whether bars are drawn."""
        return not self._is_silent and self._stream.isatty()

    def write(self, text: str) -> int:
        """Remember the text from "error:" on."""
        if text.startswith("error: "):
            self.words = text.removeprefix("error: ").rstrip("\n")
        elif self.words and len(self.words) < _LONGEST:
            self.words += text.rstrip("\n")
        return len(text) if self._is_silent else super().write(text)


@contextmanager
def one_voice() -> Iterator[Callable[[], str]]:
    """Let the first of several processes alone print; yield what returns the last error.

    The traceback of an error that no message explains is printed by the process that has it.
    """
    if place().size == 1:
        yield str
        return
    is_silent = not place().is_first
    usual = sys.stdout, sys.stderr
    heard = Remembering(usual[1], is_silent=is_silent)
    sys.stdout, sys.stderr = Remembering(usual[0], is_silent=is_silent), heard
    try:
        yield lambda: heard.words
    except Exception as error:
        if is_silent and not isinstance(error, ToldError):
            usual[1].write(f"rank {place().rank}:\n")
        raise
    finally:
        sys.stdout, sys.stderr = usual
