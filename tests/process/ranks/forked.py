"""Plays cases of failing.py, all at once, in processes that are forked: torch is imported once.

Does what torchrun does: it has the store, and where one process ends with an error it asks the
others to end. Prints a JSON object: case -> what became of it.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch.distributed as dist

from tests.process.ranks import failing
from tests.whole.torchrun import free_port

KILL = 60.0  # seconds after which whoever still lives is killed, and the case has failed


@dataclass
class Case:
    """Processes that do one thing, and what is done to one of them once it is at work."""

    words: list[str]
    size: int = 2
    number: int | None = None  # the signal that the one gets
    to_all: bool = False
    of_store: bool = False  # the signal is for torchrun, so to say
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp()))
    pids: dict[int, int] = field(default_factory=dict)  # rank -> process
    ended: dict[int, int] = field(default_factory=dict)  # rank -> exit status
    asked_at: float = 0.0  # when the others were asked to end
    took: float = 0.0  # seconds from the signal to the end of all who were not hit

    def start(self) -> None:
        port = free_port()
        # In a process of its own: what is forked must not have the threads of a store.
        self.torchrun = os.fork() or hold_store(port)
        for rank in range(self.size):
            self.pids[rank] = os.fork() or self._become(rank, port)

    def _become(self, rank: int, port: int) -> int:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1"}
        os.environ |= {"WORLD_SIZE": str(self.size), "LOCAL_WORLD_SIZE": str(self.size)}
        os.environ |= {"MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(self.folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT), number)
        status = 1
        try:
            status = failing.main(self.words)
        except SystemExit as error:
            status = int(error.code or 0)
        except Exception:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            os._exit(status)

    def look(self, now: float) -> bool:
        """Do what torchrun would; return whether all have ended."""
        if self.number is not None and "at work" in self.said("err"):
            pid = int(self.said("err").split("at work ")[1].split()[0])
            hit = (
                [*self.pids.values()] if self.to_all else [self.torchrun if self.of_store else pid]
            )
            for one in hit:
                os.kill(one, self.number)
            self.number, self.hit, self.hit_at = None, hit[0], now
        for rank, pid in self.pids.items():
            if rank not in self.ended and (found := os.waitpid(pid, os.WNOHANG))[0]:
                self.ended[rank] = os.waitstatus_to_exitcode(found[1])
                if pid != getattr(self, "hit", None):
                    self.took = max(self.took, now - getattr(self, "hit_at", now))
        if any(self.ended.values()) and not self.asked_at and not self.of_store:
            self.asked_at = now
            self._signal(signal.SIGTERM)
        if self.asked_at and now - self.asked_at > 10:
            self._signal(signal.SIGKILL)
        if len(self.ended) == self.size:
            os.kill(self.torchrun, signal.SIGKILL)
            return True
        return False

    def _signal(self, number: int) -> None:
        for rank, pid in self.pids.items():
            if rank not in self.ended:
                os.kill(pid, number)

    def said(self, name: str) -> str:
        file = self.folder / name
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def hold_store(port: int) -> int:
    """Have the store until the process is killed."""
    store = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    while store is not None and os.getppid() != 1:
        time.sleep(1)
    os._exit(0)


def play(cases: dict[str, Case]) -> dict[str, dict]:
    """Return what became of each case."""
    for case in cases.values():
        case.start()
    end = time.monotonic() + KILL
    left = dict(cases)
    while left:
        now = time.monotonic()
        for name in [name for name, case in left.items() if case.look(now)]:
            del left[name]
        if now > end:
            for case in left.values():
                case._signal(signal.SIGKILL)
            end = now + KILL
        time.sleep(0.05)
    return {name: told(case) for name, case in cases.items()}


def told(case: Case) -> dict:
    lines = case.said("err").splitlines()
    return {
        "status": [case.ended[rank] for rank in range(case.size)],
        "out": case.said("out"),
        "err": [line for line in lines if not line.startswith("at work")],
        "took": case.took,
    }


CASES: dict[str, Callable[[], Case]] = {
    "all end": lambda: Case(["ends"]),
    "one's error": lambda: Case(["explains"], size=3),
    "one's own error": lambda: Case(["explains_alone"], size=3),
    "the first one's own error": lambda: Case(["explains_alone", "--who", "0"]),
    "the same error": lambda: Case(["all_explain"]),
    "a wrong flag": lambda: Case(["--nonsense"]),
    "a bug": lambda: Case(["breaks"]),
    "a bug outside": lambda: Case(["breaks_alone"]),
    "one is asked": lambda: Case(["is_asked"]),
    "all are asked": lambda: Case(["works"], number=signal.SIGTERM, to_all=True),
    "one is killed at work": lambda: Case(["works"], number=signal.SIGKILL),
    "the first is killed": lambda: Case(["computes", "--who", "0"], size=3, number=signal.SIGKILL),
    "one is stopped": lambda: Case(["works"], number=signal.SIGSTOP),
    "one is stopped in an update": lambda: Case(["computes"], number=signal.SIGSTOP),
    "one does something else": lambda: Case(["does_otherwise"]),
    "torchrun is killed": lambda: Case(["works"], number=signal.SIGKILL, of_store=True),
    "one works for long": lambda: Case(["works_alone"]),
}

if __name__ == "__main__":
    chosen = sys.argv[1:] or list(CASES)
    print(json.dumps(play({name: CASES[name]() for name in chosen}), indent=1))
