"""Progress: tqdm's bar on a terminal, a plain line now and then elsewhere; warnings above it.

A log file or a CI job keeps every carriage return and escape that a bar draws itself anew with.
"""

import os
import sys
import time
from typing import Any

from tqdm import tqdm

from process.page import fitted_on
from process.shown import shown_line

INTERVAL = 30.0  # seconds between two lines of one bar


def bar(**options: Any) -> tqdm:
    """Return a bar on standard error; the options are tqdm's, its name may be anyone's text.

    Where standard error is no terminal it writes a line every INTERVAL seconds and, unless
    ``leave`` is False and there was none, one at the end.
    """
    if "desc" in options:
        options["desc"] = shown_line(options["desc"])
    if _is_terminal(sys.stderr):
        # outside of a command standard error is anyone's stream
        options["file"] = getattr(sys.stderr, "drawing", sys.stderr)
        has_width = os.get_terminal_size(sys.stderr.fileno()).columns > 0
        return tqdm(**({"dynamic_ncols": True} if has_width else {"ncols": 79}), **options)
    return PlainBar(**options)


def warn(text: str) -> None:
    """Print a warning on standard error, above the bars that are drawn there."""
    tqdm.write(fitted_on(sys.stderr, f"warning: {text}"), file=sys.stderr)


class PlainBar(tqdm):
    """tqdm's counting and times, written as whole lines."""

    disable: bool

    def __init__(self, **options: Any) -> None:
        self._said = time.monotonic()
        self._has_said = False
        super().__init__(**options)

    def refresh(self, *_: Any, **__: Any) -> bool:
        """Write a line, unless one was written a short time ago."""
        if not self.disable and time.monotonic() - self._said >= INTERVAL:
            self._say()
        return True

    display = refresh

    def clear(self, *_: Any, **__: Any) -> None:
        """There is nothing to wipe out before somebody else writes."""

    def close(self) -> None:
        """Write the last line."""
        if self.disable:
            return
        if self.leave or self._has_said:
            self._say()
        self.disable = True
        self._decr_instances(self)

    def _say(self) -> None:
        self._said, self._has_said = time.monotonic(), True
        now, done = self.format_dict, self.n - self.initial
        name = (self.desc or f"{self.unit}s").removesuffix(": ")
        text = f"{name}: {self.n:,} of {self.total:,}, {self.format_interval(now['elapsed'])} gone"
        if 0 < done < self.total - self.initial:
            left = now["elapsed"] / done * (self.total - self.n)
            text += f", about {self.format_interval(left)} left"
        self.fp.write(text + (f", {self.postfix}" if self.postfix else "") + "\n")
        self.fp.flush()


def _is_terminal(stream: Any) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # a stand-in, or closed
        return False
