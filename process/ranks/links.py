"""What connects a process to the others: the place where they meet, and how they part.

The place is torchrun's own store (torch.distributed.TCPStore), or one in the first process where a
launcher has none. All that is noted there has the number of the start before it: torchrun keeps the
store when it starts the processes anew.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

from process.ranks.exchange import is_lost
from process.ranks.limits import Limits
from process.ranks.place import Place
from process.ranks.pulse import Pulse
from process.ranks.told import text_of
from process.ranks.verdict import Verdict
from process.ranks.world import World
from process.shown import shown
from process.signals import exit_status, requests

if TYPE_CHECKING:
    from torch.distributed import Store


class Links:
    """The store as the main thread uses it, and the thread that listens to the others."""

    def __init__(self, here: World, allowed: Limits) -> None:
        """Find the store; `begin` waits for the others."""
        self._here, self._allowed = here, allowed
        self._meetings = 0
        self._whole, self.store, of_pulse = _stores(here.place, allowed)
        self.pulse = Pulse(here, of_pulse, allowed)

    def begin(self) -> None:
        """Wait until all are there, and listen to them."""
        self.meet(limit=self._allowed.start)
        self.pulse.start()

    def meet(self, limit: float | None = None) -> None:
        """Return once all processes have called it so often.

        Nobody can be one meeting ahead, so one count of all of them is enough.
        """
        self._meetings += 1
        asked, began = self._meetings * self._here.size, time.monotonic()
        there = self.store.add("meetings", 1)
        while there < asked:
            waited = time.monotonic() - began
            if limit is not None and waited > limit:
                reason = f"{there} of {asked}"
                self.pulse.end(Verdict("missing", self._here.rank, seconds=waited, reason=reason))
            # The longer it takes, the less often a thousand processes ask.
            time.sleep(min(0.25, max(0.0002, waited / 20)))
            there = self.store.add("meetings", 0)

    def lost(self, error: BaseException) -> NoReturn:
        """End the process: what all do together has failed."""
        self.pulse.lost(error)

    def leave_word(self) -> None:
        """Tell the others, before an end at once, that a signal asked this process to."""
        if requests.number is not None and not requests.is_over:
            self.pulse.say(Verdict("signal", self._here.rank, number=requests.number))

    def part(self, error: BaseException | None, words: str) -> bool:
        """Leave the others; return whether all have left together.

        Args:
            error: what comes out of the work here.
            words: the error that was said, where none comes out.
        """
        requests.finish()  # torchrun asks the others to end once one is gone
        if isinstance(error, RuntimeError) and is_lost(error):
            self.lost(error)
        is_well = self._here.status == 0 and (error is None or _is_plain_exit(error))
        if is_well or self._here.has_agreed:
            self.meet()
            self.store.set("over", "")  # who is gone from now on is not lost
            self.pulse.stop()
            self.store.add("left", 1)
            if self._here.is_first:  # which may have the store
                self._wait_until(lambda: self.store.add("left", 0) == self._here.size)
            return True
        own = Verdict("ended", self._here.rank, self._here.part, reason=words)
        if isinstance(error, KeyboardInterrupt):
            own = replace(own, kind="signal", number=exit_status(error) - 128)
        elif error is not None and not isinstance(error, SystemExit):
            own = replace(own, reason=text_of(error))
        self._end_alone(own)
        return False

    def _end_alone(self, own: Verdict) -> None:
        """Tell the others of an end of this process's own, and see that its error is printed."""
        is_printed = False
        with suppress(RuntimeError):  # the store is gone
            self.pulse.say(own)
            self.pulse.stop()  # what it sees from now on follows from this
            if self._here.is_first:
                self.store.set("printed", own.reason)
                return
            if self._wait_until(lambda: self.store.check(["printed"])):
                is_printed = self.store.get("printed").decode() == own.reason
        if own.kind == "ended" and not is_printed:
            print(shown(f"rank {own.rank}: {own.reason}"), file=sys.__stderr__, flush=True)

    def _wait_until(self, met: Callable[[], bool]) -> bool:
        end = time.monotonic() + 3 * self._allowed.grace
        while not met():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True


def _is_plain_exit(error: BaseException) -> bool:
    return isinstance(error, SystemExit) and not error.code


def _stores(own: Place, allowed: Limits) -> "tuple[Store, Store, Store]":
    """Return the whole store, and the main thread's and the pulse's own way to this start's part.

    One connection serves one thread at a time, however long that waits.
    """
    import torch.distributed as dist

    start = timedelta(seconds=allowed.start)
    whole, _, _ = next(dist.rendezvous("env://", own.rank, own.size, timeout=start))
    other = dist.TCPStore(
        whole.host, whole.port, is_master=False, timeout=start, wait_for_workers=False
    )
    name = f"start-{own.restarts}"
    return whole, dist.PrefixStore(name, whole), dist.PrefixStore(name, other)
