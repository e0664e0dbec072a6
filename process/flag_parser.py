"""The argument parser of every command."""

import argparse
import re
from textwrap import wrap
from typing import Any

from process.page import page_width


class FlagParser(argparse.ArgumentParser):
    """An argument parser whose errors are one message on one line, with exit status 2.

    Flags are not abbreviated: --lr would quietly mean --lr-schedule. The usage names what has to be
    given; what may be given stands below it, each flag with its meaning.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)
        self.color = False  # of Python 3.14, whose escapes our streams would show
        # -1e-3 is a number too; until Python 3.13 argparse took it for a flag
        self._negative_number_matcher = re.compile(r"-\d*\.?\d+([eE][-+]?\d+)?$")

    def error(self, message: str) -> Any:
        """End with the message; the full usage would bury it."""
        self.exit(2, f"error: {message} (try {self.prog} --help)\n")

    def format_help(self) -> str:
        """Return the help; its first lines fit on the page however long the command's path is."""
        words = [self.prog, *map(_shown, filter(lambda one: one.required, self._actions))]
        lines = wrap(
            f"usage: {' '.join([*words, '[flags]'])}",
            page_width(),
            subsequent_indent=" " * len("usage: "),
            break_long_words=False,
            break_on_hyphens=False,
        )
        self.usage = "\n".join(lines).removeprefix("usage: ").replace("%", "%%")
        return super().format_help()


def _shown(action: argparse.Action) -> str:
    several = " [..]" if action.nargs == "+" else ""
    return f"{' '.join([*action.option_strings, str(action.metavar)])}{several}"
