"""Every command's flags with the words of --help, read off the parser whose help is asked for.

Which module builds a parser, and how, does not matter: each command is run as it is typed, with
--help, and argparse itself is stopped where it would print.
"""

import argparse
import configparser
import importlib
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import chdir
from typing import Any
from unittest.mock import patch

from scripts.inventory.running import ROOT, run_words

SCRIPTS = (
    *("train.py", "evaluate.py"),
    *("evaluate.py ask", "evaluate.py matrix", "evaluate.py compare"),
    "evaluate.py export",
)
NOT_COMMANDS = ("tests", "scripts", "benchmarks", "build", "venv")  # the folders beside ours
INSTALLED = {"groupwise-train": "train.py", "groupwise-evaluate": "evaluate.py"}


class _Asked(BaseException):
    """Carries the parser whose help was asked for past everything that catches errors."""


def all_flags() -> dict[str, Any]:
    """Return each command's description and flags, by what is typed after `python`."""
    found: dict[str, Any] = {}
    with chdir(ROOT):  # elsewhere a module's command would be named with a PYTHONPATH before it
        for words in (*SCRIPTS, *_modules()):
            found[words] = _contents(_asked(run_words, [*words.split(), "--help"]))
        for name, same in INSTALLED.items():
            own = _contents(_asked(_run_installed, name))
            found[name] = f"as {same}" if own == found[same] else f"unlike {same}"
    return found


def _modules() -> list[str]:
    files = ROOT.glob("[a-z]*/**/__main__.py")
    names = sorted(".".join(file.parent.relative_to(ROOT).parts) for file in files)
    return [f"-m {name}" for name in names if name.split(".")[0] not in NOT_COMMANDS]


def _asked(run: Callable[[Any], None], command: Any) -> argparse.ArgumentParser:
    def stop(parser: argparse.ArgumentParser, _file: Any = None) -> None:
        raise _Asked(parser)

    with patch.object(argparse.ArgumentParser, "print_help", stop):
        try:
            run(command)
        except _Asked as asked:
            return asked.args[0]
    raise AssertionError("a command printed its help without argparse")


def _run_installed(name: str) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    module, function = dict(line.split(" = ") for line in lines)[name].split(":")
    with patch.object(sys, "argv", [name, "--help"]):
        getattr(importlib.import_module(module), function)()


def _contents(parser: argparse.ArgumentParser) -> dict[str, Any]:
    formatter = argparse.HelpFormatter("")
    contents: dict[str, Any] = {
        "description": _words(parser.description),
        "epilog": _words(parser.epilog),
        "groups": {},
        "flags": {},
    }
    for group in parser._action_groups:
        if group.description:
            contents["groups"][group.title] = _words(group.description)
        for action in group._group_actions:
            name = " ".join(action.option_strings) or action.dest
            contents["flags"][name] = {
                "group": group.title,
                "takes": _takes(action),
                "help": _words(formatter._expand_help(action) if action.help else None),
            }
    return contents


def _takes(action: argparse.Action) -> str | list[str]:
    """Return `FILE`, `FILE +` for one or more, `nothing` for a switch; what has to be given.

    The names of a choice are a list: one that is new changes nothing that was there.
    """
    if action.nargs == 0:
        return "nothing"
    names = str(action.metavar).split("|")
    words = [str(action.nargs or "")]
    words += ["of", *map(str, action.choices)] if action.choices else []
    words += ["(required)"] if action.required else []
    rest = " ".join(filter(None, words))
    if len(names) > 1:
        return [*names, *filter(None, [rest])]
    return " ".join(filter(None, [*names, rest]))


def _words(text: str | None) -> str | None:
    """Return a text on one line, with commands as they are typed in a clone."""
    if text is None:
        return None
    text = text.replace(shlex.quote(sys.executable), "python").replace(f"{ROOT}/", "")
    return re.sub(r"\S*groupwise-(train|evaluate)", r"python \1.py", " ".join(text.split()))
