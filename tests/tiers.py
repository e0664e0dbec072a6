"""Which tier a test belongs to, and what keeps the unit tier quick.

    python -m pytest -m unit

unit      no policy and no other process: maths and rules, the examples of docstrings among them
model     with a policy, tiny or embedded, in this process
command   a command as its user runs it: its `main`, or a process of its own (g++ is one too)
slow      any of these that takes more than about three seconds on an idle core

A file says its tier by `pytestmark = pytest.mark.model`, a test by its own mark, which counts more.
What says nothing has the tier of the fixtures it asks for, in tests/whole it is a command, and all
else is a unit test. `gpu` stands beside: such a test is skipped where there is none.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.places import ROOT

TIERS = ("unit", "model", "command", "slow")
# Made once for many tests, so that no patch would see who asks second.
BY_FIXTURE = {"nano_dirs": "model", "nano_policy": "model", "emulator": "command"}
BY_FOLDER = {"tests/whole": "command"}
# What libraries ask the system at their first use: matplotlib for fonts, ctypes for a library.
OF_LIBRARIES = {"fc-list", "/sbin/ldconfig"}
_START = subprocess.Popen.__init__


def assign(items: list[pytest.Item]) -> None:
    """Leave each test with one tier."""
    tiers = {item: tier_of(item) for item in items}
    for node in {node for item in items for node in item.listchain()}:
        node.own_markers[:] = [mark for mark in node.own_markers if mark.name not in TIERS]
    for item, tier in tiers.items():
        item.add_marker(tier)


def tier_of(item: pytest.Item) -> str:
    """Return the tier of the mark that stands nearest to a test, else of its fixtures or folder."""
    for node in reversed(item.listchain()):
        own = [mark.name for mark in node.own_markers if mark.name in TIERS]
        if own:
            return own[-1]  # a parameter's mark stands behind its test's
    asked = [tier for name, tier in BY_FIXTURE.items() if name in _fixtures(item)]
    return next(iter(asked), None) or _of_folder(item.path) or "unit"


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def _of_folder(path: Path) -> str | None:
    folders = {path.is_relative_to(ROOT / folder): tier for folder, tier in BY_FOLDER.items()}
    return folders.get(True)


def has_no_units(path: Path) -> bool:
    """Return whether a test file says that all its tests are of another tier, by its text.

    So `-m unit` need not import the files that import most.
    """
    if not path.name.startswith("test_") or path.suffix != ".py":
        return False
    text = path.read_text(encoding="utf-8")
    says = re.search(r"^pytestmark = pytest\.mark\.(\w+)$", text, re.MULTILINE)
    tier = says[1] if says else _of_folder(path)
    return tier in set(TIERS) - {"unit"} and "mark.unit" not in text


class NotAUnit(AssertionError):
    """A unit test did what makes it one of another tier."""


@contextmanager
def held_to_its_tier(item: pytest.Item) -> Iterator[None]:
    """Let a unit test neither start a process nor make a policy; others do as they like."""
    if item.get_closest_marker("unit") is None:
        yield
        return
    asked = BY_FIXTURE.keys() & set(_fixtures(item))
    if asked:
        refuse(f"asks for {', '.join(sorted(asked))}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", _refuse_to_start)
        patch.setattr(os, "fork", lambda: refuse("forks"))
        # A test that imports it only now goes unseen, until another one has imported it.
        policies = sys.modules.get("models.policy")
        if policies is not None:
            patch.setattr(policies.Policy, "__init__", lambda *_, **__: refuse("makes a policy"))
        yield


def _refuse_to_start(popen: subprocess.Popen, words: Any, *args: Any, **options: Any) -> None:
    if words[0] not in OF_LIBRARIES:
        refuse(f"starts {words}")
    _START(popen, words, *args, **options)


def refuse(what: str) -> NoReturn:
    """Raise with what a unit test did, and the way out."""
    raise NotAUnit(
        f"a unit test {what}: mark it (@pytest.mark.model or command, or pytestmark for its file;"
        " tests/tiers.py says which is which)"
    )
