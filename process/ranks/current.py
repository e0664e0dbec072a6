"""The processes of the command that runs in this one; there is one such command at a time."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from process.ranks.place import Place
from process.ranks.world import World
from process.signals import requests

T = TypeVar("T")
P = ParamSpec("P")

_ALONE = World(Place())
_current = _ALONE


def world() -> World:
    """Return the processes that this one talks to; itself alone outside of `joined`."""
    return _current


def become(others: World | None) -> None:
    """Let `world` return these, which a signal waits for; None: this process alone."""
    global _current
    _current = _ALONE if others is None else others
    requests.may_end = lambda: world().may_end


def first_alone(part: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator of what only the first process is to do; all call it, as `by_the_first`.

    Args:
        part: as of `together`.
    """

    def decorate(work: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(work)
        def told(*words: P.args, **named: P.kwargs) -> T:
            return world().by_the_first(part, lambda: work(*words, **named))

        return told

    return decorate
