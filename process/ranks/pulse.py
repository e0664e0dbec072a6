"""A thread per process that says it lives, hears that the others do, and ends it if one is lost.

Who waits for another process waits in C, where nothing of Python comes through; so a thread ends
the process, with one line. With one process lost there is nothing to be saved: each has a part of
what a checkpoint holds. The newest one is whole, whenever this happens.

Each beat is a few words to the processes' store. The first process reads all of them; the others
read its own and what it has found, and look at the processes of their machine, whose end is seen
at once. So the store's work grows with the number of processes, not with its square.
"""

import json
import os
import re
import select
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from process.bars import warn
from process.ranks.limits import Limits
from process.ranks.verdict import Verdict
from process.shown import shown
from process.signals import requests

if TYPE_CHECKING:
    from torch.distributed import Store

    from process.ranks.world import World


class Pulse:
    """What one process knows of the others' lives."""

    def __init__(self, world: "World", store: "Store", limits: Limits) -> None:
        """Have a first beat; `start` begins to listen."""
        self._world, self._store, self._limits = world, store, limits
        self._count = 0
        self._heard: dict[int, dict[str, Any]] = {}  # by rank: the last beat
        self._since: dict[tuple[int, str], tuple[Any, float]] = {}  # what is unchanged, since when
        self._local: dict[int, int] = {}  # rank -> process number, on this machine
        self._told: set[tuple[int, int]] = set()
        self._has_passed_on = False
        self._over = threading.Event()
        self._ends = threading.Lock()
        self._missed = 0  # beats of `_guard` since the last one of `_run`
        self._beat()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Listen, once all have had a first beat."""
        self._local = self._neighbours()
        self._thread.start()
        threading.Thread(target=self._guard, name="pulse's guard", daemon=True).start()

    def stop(self) -> None:
        """Say and hear nothing more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(self._limits.silence)

    def lost(self, error: BaseException) -> NoReturn:
        """End because what the processes do together has failed, once it is clear why.

        Args:
            error: what it failed with here.
        """
        time.sleep(self._limits.grace)  # the thread may find which process is gone, and end it
        self.end(Verdict("stuck", self._world.rank, self._world.part, reason=_first_line(error)))

    def say(self, verdict: Verdict) -> Verdict:
        """Return the one reason why all end: this one, unless another was said before."""
        return Verdict.of(self._store.compare_set("verdict", "", verdict.text()))

    def end(self, verdict: Verdict) -> NoReturn:
        """End the process; one of all says why."""
        self._ends.acquire()  # of two threads one does it
        if verdict.kind != "store":
            with suppress(RuntimeError):  # it is gone by now
                verdict = self.say(verdict)
        if self._speaks(verdict):
            _write(
                verdict.line(requests.kept()), None if self._world.is_first else self._world.rank
            )
            with suppress(RuntimeError):
                self._store.set("printed", verdict.reason)
        for act in reversed(requests.last_acts):
            with suppress(Exception):
                act()
        os._exit(verdict.status)

    def _run(self) -> None:
        while not self._over.wait(self._limits.beat):
            verdict = None
            try:
                self._beat()
                self._pass_on_signals()
                verdict = self._said() or self._look()
                if verdict is not None and self._store.check(["over"]):
                    return
            except RuntimeError as error:  # of the store
                verdict = Verdict("store", self._world.rank, reason=_first_line(error))
            self._missed = 0
            if verdict is not None and not self._over.is_set():
                self.end(verdict)

    def _guard(self) -> None:
        """End the process where the other thread waits for a store that never answers."""
        while not self._over.wait(self._limits.beat):
            self._missed += 1  # and no clock: that of a process that was stopped goes on
            if self._missed * self._limits.beat > self._limits.silence:
                self.end(Verdict("store", self._world.rank, reason="it does not answer"))

    def _beat(self) -> None:
        self._count += 1
        said = {"count": self._count, "pid": os.getpid(), **self._world.state()}
        self._store.set(f"beat/{self._world.rank}", json.dumps(said))

    def _pass_on_signals(self) -> None:
        """Tell the others of a signal, which may have come here alone; hear of theirs."""
        if requests.number is not None and not self._has_passed_on:
            self._has_passed_on = True
            self._store.set("signal", str(int(requests.number)))
        elif requests.number is None and self._store.check(["signal"]):
            requests.pass_on(int(self._store.get("signal")))

    def _said(self) -> Verdict | None:
        """Return why another process says that all end."""
        if not self._store.check(["verdict"]):
            return None
        verdict = Verdict.of(self._store.get("verdict"))
        if verdict.kind in ("ended", "signal") and verdict.rank == self._world.rank:
            return None  # it is on its way out
        # Perhaps this one is about to end with the same error; the first one is to say so first.
        grace = self._limits.grace * (1 if self._world.is_first else 2)
        if verdict.kind == "ended" and self._unchanged("ended", True) < grace:
            return None
        return verdict

    def _look(self) -> Verdict | None:
        for rank, pid in self._local.items():
            if not _lives(pid):
                return Verdict("gone", rank, self._heard_of(rank).get("part", ""))
        everyone = range(self._world.size) if self._world.is_first else range(1)
        keys = [f"beat/{rank}" for rank in everyone]
        for rank, beat in zip(everyone, self._store.multi_get(keys), strict=True):
            self._heard[rank] = json.loads(beat)
        for rank in everyone:
            silent = self._unchanged("count", self._heard[rank]["count"], rank)
            if silent > self._limits.silence and rank != self._world.rank:
                return Verdict("silent", rank, self._heard[rank]["part"], silent)
        return self._look_for_stalled() if self._world.is_first else None

    def _look_for_stalled(self) -> Verdict | None:
        """Return, or tell, who lives and has not come further while others wait."""
        heard, unchanged = self._heard, self._unchanged
        times = {
            rank: unchanged("moved", (beat["waits"], beat["met"], beat["moved"]), rank)
            for rank, beat in heard.items()
        }
        waited = max((times[rank] for rank in heard if heard[rank]["waits"]), default=0.0)
        for rank, beat in heard.items():
            if beat["waits"] or min(waited, times[rank]) < self._limits.told:
                continue
            if times[rank] > self._limits.stall:
                return Verdict("stalled", rank, beat["part"], times[rank])
            if (rank, beat["met"]) not in self._told:
                self._told.add((rank, beat["met"]))
                warn(f"waiting for rank {rank}, which is at {beat['part']}")
        return None

    def _unchanged(self, name: str, value: Any, rank: int = -1) -> float:
        """Return for how many seconds something has been as it is; by this process's own clock."""
        now = time.monotonic()
        before, since = self._since.get((rank, name), (None, now))
        if before != value:
            since = now
        self._since[rank, name] = value, since
        return now - since

    def _neighbours(self) -> dict[int, int]:
        """Return the process numbers of this machine's other processes."""
        here = self._world.place
        start = here.rank - here.local_rank
        ranks = [r for r in range(start, start + here.local_size) if r != here.rank]
        return {rank: self._heard_of(rank)["pid"] for rank in ranks}

    def _heard_of(self, rank: int) -> dict[str, Any]:
        return json.loads(self._store.get(f"beat/{rank}"))

    def _speaks(self, verdict: Verdict) -> bool:
        """Return whether this process prints the line: the first one, if it is not the lost one."""
        if verdict.kind == "store":  # nobody can be asked: one of each machine
            return self._world.is_first or self._world.place.local_rank == 0
        if self._world.is_first:
            return verdict.kind != "ended" or verdict.rank != 0
        is_lost = verdict.rank == 0 and verdict.kind in ("gone", "silent")
        with suppress(RuntimeError):
            return is_lost and self._store.add("told", 1) == 1
        return is_lost


def _first_line(error: BaseException) -> str:
    """Return what a library says, without the place in its own source."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[[^]]*\]\s*", "", line)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return state.rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        if Path("/proc/self/stat").exists():
            return False
    try:
        os.kill(pid, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _write(line: str, rank: int | None) -> None:
    """Write past Python's own stream, which the main thread may be using."""
    said = shown(line if rank is None else f"rank {rank}: {line}")
    with suppress(OSError, ValueError):
        if select.select([], [2], [], 1.0)[1]:  # who has stopped reading must not keep it
            os.write(2, f"{said}\n".encode(errors="backslashreplace"))
