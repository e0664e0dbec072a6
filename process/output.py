"""Output that never fails: no character and no reader that left ends a run of hours.

A terminal or a log file may not know a character (cp1252, ascii under LC_ALL=C), and who reads may
leave (`| head`, a closed terminal, a full disk under a log file). What is computed lies in files of
its own, so the character is written as an escape, and what nobody can read is dropped.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO, cast

# Of files of ours too: a lone surrogate, which JSON may hold as an escape and utf-8 cannot encode,
# becomes that escape again.
ERRORS = "backslashreplace"
_NOWHERE = Path(os.devnull)


class ForgivingStream:
    """A text stream whose `write` and `flush` never raise; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        """Look at nothing yet."""
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text, or drop it where nothing can be written any longer."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError:  # a stream that could not be set to escape
            encoding = self._stream.encoding or "ascii"
            return self.write(text.encode(encoding, ERRORS).decode(encoding))
        except BlockingIOError:  # a pipe that is full for a moment
            pass
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._give_up()
        return len(text)

    def flush(self) -> None:
        """Flush, or drop what waits."""
        try:
            self._stream.flush()
        except BlockingIOError:
            pass
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        """Lead the stream nowhere: what it still holds must not fail again when Python ends."""
        with suppress(OSError, ValueError, AttributeError), _NOWHERE.open("wb") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


@contextmanager
def forgiving_output() -> Iterator[None]:
    """Let nothing that is printed inside raise, on standard output or standard error."""
    usual = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_forgiving, usual)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = usual


def _forgiving(stream: TextIO | None) -> Any:
    if stream is None:  # closed before the start (>&-), where tqdm would fail
        stream = _NOWHERE.open("w", encoding="utf-8")
    with suppress(AttributeError, ValueError, OSError):  # a stand-in, such as a notebook's
        cast(TextIOWrapper, stream).reconfigure(errors=ERRORS)
    return ForgivingStream(stream)
