"""A command's own process: a thread takes its signals, so no code is broken off between two lines.

Each program is a process of its own. It prints a line when it is where the signal is to meet it.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from process.own_signals import HOME, is_ours
from process.signals import NOTHING_BEGUN
from tests.places import ROOT

pytestmark = pytest.mark.command

START = """
import sys, time, os, signal
from process.own_signals import take_signals
take_signals()
from process.command import command
from process.signals import end_if_asked, held, interruptible, requests, saying_kept
requests.grace = 0.3

def hang():
    import ctypes
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    for _ in range(2):  # the second call never returns, and no handler of Python's runs
        libc.pthread_mutex_lock(mutex)

def ready():
    print("ready", flush=True)
"""


class Program:
    """A program that has said that it is ready."""

    def __init__(self, text: str, **options) -> None:
        options = {"stderr": subprocess.PIPE} | options
        self.process = subprocess.Popen(
            [sys.executable, "-c", START + text],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, number: int, *delays: float) -> None:
        """Send a signal, and once more after each of the delays."""
        self.process.send_signal(number)
        for delay in delays:
            time.sleep(delay)
            self.process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """The exit status, and what was said on standard error."""
        _, told = self.process.communicate(timeout=120)
        return self.process.returncode, told


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [
        (signal.SIGTERM, 143, "interrupted by SIGTERM"),
        (signal.SIGHUP, 129, "interrupted by SIGHUP"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_call_into_c_that_never_returns_is_ended_by_the_first_signal(number, status, word):
    program = Program("ready(); hang()")
    program.ask(number)
    assert program.ended() == (status, f"{word}: {NOTHING_BEGUN}\n")


def test_what_is_held_is_ended_by_a_signal_behind_the_grace_time():
    program = Program(
        "with saying_kept(lambda: '1 of 4 steps are saved'), held():\n    ready(); hang()",
    )
    program.ask(signal.SIGTERM, 0.01, 0.01)
    with pytest.raises(subprocess.TimeoutExpired):
        program.process.wait(0.5)
    program.ask(signal.SIGINT)
    assert program.ended() == (130, "interrupted: 1 of 4 steps are saved\n")


def test_a_signal_that_waits_is_told_of_after_a_moment():
    program = Program("with held():\n    ready(); hang()")
    program.ask(signal.SIGTERM)
    told = program.process.stderr.readline()
    assert told.startswith("SIGTERM: ends when ") and "once more, 0.3 s after the first" in told
    program.ask(signal.SIGTERM)
    assert program.ended() == (143, f"interrupted by SIGTERM: {NOTHING_BEGUN}\n")


BUSY = """
import threading, weakref
from concurrent.futures import ThreadPoolExecutor

class Slow:
    def __init__(self):
        self.itself = self
        weakref.finalize(self, sum, range(2000))
    def __del__(self):
        sum(range(2000))

@command
def main(argv=None):
    with interruptible(), ThreadPoolExecutor(2) as pool:
        ready()
        while True:
            futures = [pool.submit(sum, range(2000)) for _ in range(4)]
            [Slow() for _ in range(20)]
            [future.result() for future in futures]
            end_if_asked()

sys.exit(main())
"""


def test_destructors_threads_and_weak_references_print_nothing_under_many_signals():
    program = Program(BUSY)
    program.ask(signal.SIGINT, *[0.002] * 50)
    assert program.ended() == (130, f"interrupted: {NOTHING_BEGUN}\n")


def test_an_end_at_once_leaves_no_folder_that_was_made_for_work_that_did_not_begin(tmp_path):
    program = Program(
        "from pathlib import Path\n"
        "from process.owner import owned\n"
        f"with owned(Path({str(tmp_path)!r}) / 'runs' / 'new'):\n    ready(); hang()",
    )
    assert (tmp_path / "runs" / "new").is_dir()
    program.ask(signal.SIGTERM)
    assert program.ended()[0] == 143 and not any(tmp_path.iterdir())


def test_a_signal_while_python_ends_changes_nothing():
    program = Program(
        "import atexit\n"
        "atexit.register(lambda: [os.kill(os.getpid(), n) for n in (1, 2, 15)])\n"
        "main = command(lambda argv=None: ready() or 0)\n"
        "sys.exit(main())"
    )
    assert program.ended() == (0, "")


def test_a_forked_child_ends_alone():
    program = Program(
        "child = os.fork()\n"
        "if not child:\n    time.sleep(100); os._exit(1)\n"
        "os.kill(child, signal.SIGTERM)\n"
        "assert child and os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM\n"
        "time.sleep(0.2)\n"
        "assert requests.number is None\n"
        "ready()"
    )
    assert program.ended() == (0, "")


def test_a_signal_that_somebody_else_handles_is_theirs():
    program = Program(
        "signal.signal(signal.SIGTERM, lambda *_: ready())\n"
        "os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.2)\n"
        "assert requests.number is None"
    )
    assert program.ended() == (0, "")


def test_who_has_stopped_reading_does_not_keep_the_process():
    receiving, sending = os.pipe()
    program = Program("ready()\nwhile True:\n    os.write(2, bytes(10**7))", stderr=sending)
    program.ask(signal.SIGTERM)
    assert program.ended()[0] == 143
    os.close(receiving), os.close(sending)


def test_what_is_ignored_stays_ignored():
    program = Program(
        "time.sleep(0.2); assert requests.number is None; ready()",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    program.process.send_signal(signal.SIGHUP)
    assert program.ended() == (0, "")


def main_of(file: Path | None) -> SimpleNamespace:
    """What stands as ``__main__`` in a process."""
    return SimpleNamespace() if file is None else SimpleNamespace(__file__=str(file))


def test_only_commands_of_ours_take_their_signals(tmp_path, monkeypatch):
    for name in ("train.py", "evaluate.py", "data/audit/__main__.py", "models/checkpoint/merge.py"):
        assert is_ours(main_of(HOME / name), [])
    (tmp_path / "link.py").symlink_to(HOME / "train.py")
    assert is_ours(main_of(tmp_path / "link.py"), [])
    for other in (tmp_path / "train.py", HOME / "scripts/dev.py", HOME / "tests/train.py"):
        assert not is_ours(main_of(other), [])
    assert not is_ours(main_of(None), ["python"])
    monkeypatch.setattr(sys, "argv", ["-m"])  # while the packages around a module are imported
    assert is_ours(main_of(None), ["python", "-m", "data.splits", "a.json"])
    for words in (["python", "-m", "pytest"], ["python", "-m", "data"], ["python", "-m"]):
        assert not is_ours(main_of(None), words)


def test_this_process_is_none():
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


AIMED = ROOT / "tests" / "whole" / "aimed"
COMMANDS = {
    "train.py": "grpo.settings",
    "evaluate.py": "evaluation.answers.finished",
    "-m data.splits": "data.examples",
    "-m data.audit": "data.audit.audited",
    "-m data.phantoms": "data.phantoms.export",
    "-m evaluation.curate": "evaluation.curate.curate_config",
    "-m evaluation.report": "evaluation.report.write",
    "groupwise train": "grpo.settings",
    "groupwise evaluate": "evaluation.answers.finished",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_among_the_imports_ends_every_command_in_one_line(name, tmp_path):
    module = COMMANDS[name]
    if name.startswith("groupwise"):  # as its console script does
        function = name.split()[1]
        words = ["-c", f"import sys, groupwise_commands as g; sys.exit(g.{function}())"]
    else:
        words = [str(ROOT / name)] if name.endswith(".py") else name.split()
    aimed = {"AIMED_AT": f"import {module}", "AIMED_SIGNAL": "2", "AIMED_TIMES": "3"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{AIMED}:{ROOT}", **aimed},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"aimed at import {module}\n"
    assert (done.returncode, done.stderr) == (130, f"interrupted: {NOTHING_BEGUN}\n")
