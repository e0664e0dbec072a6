"""Work done apart is bounded, and what it does there stays there."""

import os
import signal
import time

import pytest

from process import apart
from process.apart import FailedError, TooMuchError, done_apart

pytestmark = pytest.mark.command


def test_what_it_returns_comes_back_and_nothing_else_does():
    seen = []
    assert done_apart(lambda: seen.append(1) or {"a": ["肺", 1, None]}) == {"a": ["肺", 1, None]}
    assert seen == []
    with pytest.raises(ChildProcessError):  # no child is left behind
        os.waitpid(-1, os.WNOHANG)


def fill():
    held = []
    while True:
        held.append(bytes(50_000_000))


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (lambda: sum(iter(int, 1)), "does not end within 1 seconds"),
        (lambda: time.sleep(99), "does not end within 1 seconds"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "ends the process that works on it"),
        (lambda: os._exit(3), "ends the process that works on it"),
    ],
)
def test_every_bound_is_told(work, told, monkeypatch):
    monkeypatch.setattr(apart, "SECONDS", 1)
    monkeypatch.setattr(apart, "TIMES_AS_LONG", 4)
    with pytest.raises(TooMuchError, match=told):
        done_apart(work)


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (fill, "takes more than 500 MB of memory"),
        (lambda: "x" * 5_000_000, "makes more than 4 MB"),
    ],
)
def test_too_much_is_told_for_that_and_not_for_its_time(work, told, monkeypatch):
    monkeypatch.setattr(apart, "SECONDS", 30)  # filling takes a slow machine more than one
    with pytest.raises(TooMuchError, match=told):
        done_apart(work)


def test_an_error_is_told_with_its_control_characters_escaped():
    def work():
        raise SystemExit("\x1b[31m\u202e")

    with pytest.raises(FailedError) as caught:
        done_apart(work)
    assert str(caught.value) == r"SystemExit: '\x1b[31m\u202e'"


def test_a_signal_of_the_terminal_is_the_parents_to_answer():
    # it reaches both; the work's process would else look as if the work had ended it
    def asked() -> str:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        return "done"

    assert done_apart(asked) == "done"
