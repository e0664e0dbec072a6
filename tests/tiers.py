"""Which tier a test belongs to, and what keeps the unit tier quick.

    python -m pytest -m unit

unit      no policy and no other process: maths and rules, the examples of docstrings among them
model     with a policy, tiny or embedded, in this process
command   a command as its user runs it: its `main`, or a process of its own (g++ is one too)
slow      any of these that takes more than about three seconds on an idle core

A file says its tier by `pytestmark = pytest.mark.model`, a test by its own mark, which counts more;
what says nothing is a unit test. `gpu` stands beside: such a test is skipped where there is none.
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

TIERS = ("unit", "model", "command", "slow")
# Made once for many tests, so that who asks second would be seen by no patch.
NOT_FOR_UNITS = {"nano_dirs", "nano_policy", "emulator"}
# What libraries ask the system at their first use: matplotlib for fonts, ctypes for a library.
OF_LIBRARIES = {"fc-list", "/sbin/ldconfig"}
_START = subprocess.Popen.__init__


def assign(items: list[pytest.Item]) -> None:
    """Leave each test with one tier: the mark nearest to it, else unit."""
    tiers = {item: nearest(item) for item in items}
    for node in {node for item in items for node in item.listchain()}:
        node.own_markers[:] = [mark for mark in node.own_markers if mark.name not in TIERS]
    for item, tier in tiers.items():
        item.add_marker(tier)


def nearest(item: pytest.Item) -> str:
    """Return the tier of the mark that stands nearest to a test."""
    for node in reversed(item.listchain()):
        own = [mark.name for mark in node.own_markers if mark.name in TIERS]
        if own:
            return own[-1]  # a parameter's mark stands behind its test's
    return "unit"


def has_no_units(path: Path) -> bool:
    """Return whether a test file says that all its tests are of another tier, by its text.

    So `-m unit` need not import the files that import most.
    """
    if not path.name.startswith("test_") or path.suffix != ".py":
        return False
    text = path.read_text(encoding="utf-8")
    says = re.search(r"^pytestmark = pytest\.mark\.(\w+)$", text, re.MULTILINE)
    return says is not None and says[1] in set(TIERS) - {"unit"} and "mark.unit" not in text


class NotAUnit(AssertionError):
    """A unit test did what makes it one of another tier."""


@contextmanager
def held_to_its_tier(item: pytest.Item) -> Iterator[None]:
    """Let a unit test neither start a process nor make a policy; others do as they like."""
    if item.get_closest_marker("unit") is None:
        yield
        return
    asked = NOT_FOR_UNITS & set(getattr(item, "fixturenames", ()))
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
