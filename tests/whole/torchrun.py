"""Commands under torchrun, on one node or on several, none of whose processes outlives its test.

    ended = run(["train.py", *flags], processes=2)       one node
    first, second = run_nodes(["train.py", *flags])      two of one process each, on loopback
    with Job(["train.py", *flags]) as job:               to be met while it runs
        os.kill(job.ranks()[1], signal.SIGKILL)
        ended = job.wait()

torchrun gives every rank a session of its own, so that killing torchrun's group leaves the ranks.
All of a job are therefore known by a word in their environment, which those that they start get
too, and the end of the block kills whatever still has it.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from tests.places import ROOT

SECONDS = 600.0  # far more than a run takes, also beside other work
_MARK = "JOB_OF_A_TEST"


@dataclass(frozen=True)
class Ended:
    """How a node's torchrun ended and what all its processes wrote."""

    status: int  # as a shell has it: negative where a signal killed torchrun itself
    out: str
    err: str

    def check(self) -> Self:
        """Return it where it ended well; else fail with what it said."""
        assert self.status == 0, f"torchrun ended with {self.status}\n{self.out}\n{self.err}"
        return self


class Job:
    """One node's torchrun with its ranks, in a block at whose end they are gone.

    Args:
        words: of the script and its flags, as they stand behind `torchrun`'s own; begin with
            "-m", "MODULE" for a module.
        processes: of this node.
        options: of torchrun; without one that says where nodes meet it is `--standalone`.
        env: variables beside those of this process; one thread per rank unless it says otherwise.
        cwd: where the ranks stand; the project's root is on their path in any case.
    """

    def __init__(
        self,
        words: Sequence[str | Path],
        *,
        processes: int = 2,
        options: Sequence[str] = (),
        env: dict[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        alone = not any(option.startswith(("--rdzv", "--master")) for option in options)
        self.command = [
            *(sys.executable, "-m", "torch.distributed.run"),
            *(["--standalone"] if alone else []),
            *("--nproc-per-node", str(processes), *options, *map(str, words)),
        ]
        self._mark = f"{_MARK}={uuid4().hex}"
        own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        name, value = self._mark.split("=")
        self._env = {**os.environ, **own, **(env or {}), name: value}
        self._cwd = cwd

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()  # files: a full pipe would stop a rank
        self._files = [Path(self._folder.name, name) for name in ("out", "err")]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.torchrun = subprocess.Popen(
                self.command, env=self._env, cwd=self._cwd, stdout=out, stderr=err
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Again until none is left: one that was being started was not listed yet.
        while members := self.members():
            for pid in members:
                _kill(pid)
            time.sleep(0.05)
        self.torchrun.wait()
        self._folder.cleanup()

    @property
    def out(self) -> str:
        """What standard output has up to now."""
        return self._files[0].read_text(encoding="utf-8", errors="replace")

    @property
    def err(self) -> str:
        """What standard error has up to now."""
        return self._files[1].read_text(encoding="utf-8", errors="replace")

    def wait(self, seconds: float = SECONDS) -> Ended:
        """Return how it ended.

        Raises:
            TimeoutError: it is still at work; the message has what it wrote.
        """
        try:
            status = self.torchrun.wait(seconds)
        except subprocess.TimeoutExpired:
            said = f"{self.out}\n{self.err}"
            raise TimeoutError(f"not done after {seconds:.0f} s; it said:\n{said}") from None
        return Ended(status, self.out, self.err)

    def until(self, met: Callable[[], object], seconds: float = SECONDS) -> None:
        """Return once something is met, such as a file's being there.

        Raises:
            TimeoutError: it was not in that time.
            RuntimeError: the job ended before.
        """
        end = time.monotonic() + seconds
        while not met():
            if self.torchrun.poll() is not None:
                raise RuntimeError(f"the job ended first:\n{self.out}\n{self.err}")
            if time.monotonic() > end:
                raise TimeoutError(f"not met after {seconds:.0f} s:\n{self.out}\n{self.err}")
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send torchrun itself a signal, as Slurm and a terminal do."""
        self.torchrun.send_signal(number)

    def ranks(self) -> dict[int, int]:
        """Return the process numbers of the ranks that run, by rank over all nodes."""
        environments = {pid: _environment(pid) for pid in self.members()}
        ranks = {pid: env["RANK"] for pid, env in environments.items() if "RANK" in env}
        # What a rank starts inherits its variables: a rank is one whose parent has none.
        return {int(rank): pid for pid, rank in ranks.items() if _parent(pid) not in ranks}

    def members(self) -> list[int]:
        """Return the process numbers of torchrun, its ranks, and all that they started."""
        name, value = self._mark.split("=")
        return [pid for pid in _pids() if _environment(pid).get(name) == value]


def run(words: Sequence[str | Path], *, seconds: float = SECONDS, **of_the_job) -> Ended:
    """Return how a job of one node ended; see `Job` for what it takes."""
    with Job(words, **of_the_job) as job:
        return job.wait(seconds)


def run_nodes(
    words: Sequence[str | Path], *, nodes: int = 2, seconds: float = SECONDS, **of_the_job
) -> list[Ended]:
    """Return how each node's torchrun ended: the nodes are this machine, met on loopback."""
    options = [
        *("--nnodes", str(nodes), "--rdzv-id", uuid4().hex, "--rdzv-backend", "c10d"),
        *("--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--local-addr", "127.0.0.1"),
    ]
    own = {"processes": 1, **of_the_job, "options": options}
    end = time.monotonic() + seconds
    with ExitStack() as stack:
        jobs = [stack.enter_context(Job(words, **own)) for _ in range(nodes)]
        return [job.wait(max(1.0, end - time.monotonic())) for job in jobs]


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _environment(pid: int) -> dict[str, str]:
    """Return what a process was started with; nothing of one that has ended or is another's."""
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in content.split("\0") if "=" in line)


def _parent(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(status.rpartition(")")[2].split()[1])  # a name may hold spaces and brackets


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
