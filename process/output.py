"""Output that never fails and never acts: what others wrote is read, not obeyed.

A terminal or a log file may not know a character (cp1252, ascii under LC_ALL=C), and who reads may
leave (`| head`, a closed terminal, a full disk under a log file). What is computed lies in files of
its own, so the character is written as an escape, and what nobody can read is dropped.

A completion, a file's name or a library's error may hold what a terminal would obey. Everything
that a command prints passes through here, so escapes are made here (process/shown.py), whatever the
line is about. Bars alone need controls; they write to the stream's `drawing`.
"""

import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, cast

from process.shown import shown

# Of files of ours too: a lone surrogate, which JSON may hold as an escape and utf-8 cannot encode,
# becomes that escape again.
ERRORS = "backslashreplace"
_NOWHERE = Path(os.devnull)


_DRAWN = re.compile("(\r|\x1b\\[A)")  # how tqdm draws a bar anew: to the line's start, a line up


class ForgivingStream:
    """A text stream whose `write` and `flush` never raise; all else is the stream's own.

    Controls and unseen characters are written as escapes.
    """

    def __init__(self, stream: TextIO, *, draws: bool = False) -> None:
        """Look at nothing yet; ``draws`` lets through what a bar moves about with."""
        self._stream, self._draws = stream, draws

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    # What is written above a bar makes it draw itself anew, if both go to one stream.
    def __eq__(self, other: object) -> bool:
        return self._stream == getattr(other, "_stream", other)

    def __hash__(self) -> int:
        return hash(self._stream)

    @property
    def drawing(self) -> "ForgivingStream":
        """The same stream for a bar, which may go back in its line and up to another's."""
        return ForgivingStream(self._stream, draws=True)

    def write(self, text: str) -> int:
        """Write the text, or drop it where nothing can be written any longer."""
        parts = _DRAWN.split(text) if self._draws else [text]
        parts[::2] = map(shown, parts[::2])
        self._write("".join(parts))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write one text after the other."""
        for line in lines:
            self.write(line)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:  # a stream that could not be set to escape
            encoding = self._stream.encoding or "ascii"
            self._write(text.encode(encoding, ERRORS).decode(encoding))
        except BlockingIOError:  # a pipe that is full for a moment
            pass
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._give_up()

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
    """Let nothing that is printed inside raise, on standard output or standard error.

    The traceback of an error that leaves the block is Python's own to print, behind the block.
    """
    usual = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_forgiving, usual)
    try:
        yield
    except Exception:
        sys.excepthook = _show_traceback
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = usual


def _show_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    with forgiving_output():
        traceback.print_exception(kind, error, trace)


def _forgiving(stream: TextIO | None) -> Any:
    if stream is None:  # closed before the start (>&-), where tqdm would fail
        stream = _NOWHERE.open("w", encoding="utf-8")
    with suppress(AttributeError, ValueError, OSError):  # a stand-in, such as a notebook's
        # Line by line: nothing that was printed waits in a process that is ended at once.
        cast(TextIOWrapper, stream).reconfigure(errors=ERRORS, line_buffering=True)
    return ForgivingStream(stream)
