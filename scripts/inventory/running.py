"""Run what is typed after `python`, in this process: torch is imported once for all commands."""

import contextlib
import io
import runpy
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent.parent


def run_words(words: Sequence[str]) -> None:
    """Run a script of the clone, or a module behind -m, as the main program.

    Raises:
        RuntimeError: it ended with another exit status than 0; what it printed is in the message.
    """
    called = words[1:] if words[0] == "-m" else words
    printed = io.StringIO()
    with (
        patch.object(sys, "argv", list(called)),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "'.*' found in sys.modules", RuntimeWarning)  # runpy's
        status: int | str = 0
        try:
            if words[0] == "-m":
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        except SystemExit as end:
            status = end.code or 0
    if status:
        command = " ".join(["python", *words])
        raise RuntimeError(f"{command} ended with {status}:\n{printed.getvalue()}")
