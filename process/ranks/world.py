"""What the processes of one command say to each other.

Whoever calls a method that exchanges something waits for the others, so all of them call the same
ones in the same order. What only one of them does, such as answering its share of the questions,
stands in a `together` block: an error there would otherwise leave the others waiting.

They meet before they exchange anything. The waiting lies there, and may last as long as the slowest
one works; what is exchanged then takes a moment, or has failed. Whoever is lost meanwhile is told
of by process/ranks/pulse.py, which ends all.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar, cast

from process.ranks.exchange import gather_bytes, is_lost
from process.ranks.place import Place
from process.ranks.told import as_told, outcome
from process.signals import Interrupted, is_whole, requests

if TYPE_CHECKING:  # a command that runs alone does not wait for it here
    from torch import Tensor

T = TypeVar("T")


class Links(Protocol):
    """What connects a process to the others; made by `joined`."""

    def meet(self) -> None:
        """Return once all processes have called it so often."""

    def lost(self, error: BaseException) -> NoReturn:
        """End the process: what all do together has failed."""


class World:
    """The processes of this command, this one among them."""

    def __init__(self, own: Place) -> None:
        """Know this process's place; `joined` connects it with the others."""
        self.place = own
        self.links: Links | None = None
        self.part = "starting"  # what this process does, or has done last
        self.status = 0  # of the command here, once it is through
        self._waits = False  # for the others
        self._met = 0  # how often
        self._blocks = 0  # of `together`, around what runs now
        # what the last of them that did not end well has ended with
        self._agreed: BaseException | None = None
        self._does_alone = False  # what the others wait for

    @property
    def rank(self) -> int:
        """Which process this is, from 0."""
        return self.place.rank

    @property
    def size(self) -> int:
        """How many there are."""
        return self.place.size

    @property
    def is_first(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.place.is_first

    @property
    def may_end(self) -> bool:
        """Whether a signal may end what runs now: alone, or where the others will hear of it."""
        return self.size == 1 or self._blocks > 0

    def state(self) -> dict[str, Any]:
        """Return what the others may know of this process at any time."""
        moved = requests.progress
        return {"part": self.part, "waits": self._waits, "met": self._met, "moved": moved}

    def gather(self, item: Any) -> list[Any]:
        """Return what each process has given, in the order of their ranks; on every process.

        Args:
            item: anything that JSON holds.
        """
        if self.size == 1:
            return [item]
        found = self._gather_bytes(json.dumps(item).encode())
        return [json.loads(payload) for payload in found]

    def gather_tensors(self, tensors: "Mapping[str, Tensor]") -> "list[dict[str, Tensor]]":
        """Return the tensors of each process, in the order of their ranks; on every process's CPU.

        Args:
            tensors: on the CPU, of any shapes, which may differ between processes.
        """
        if self.size == 1:
            return [dict(tensors)]
        from safetensors.torch import load, save

        own = {name: tensor.contiguous() for name, tensor in tensors.items()}
        return [load(payload) for payload in self._gather_bytes(save(own))]

    def add(self, tensor: "Tensor") -> "Tensor":
        """Return the tensor, which now holds the sum over all processes."""
        if self.size > 1:
            import torch.distributed as dist

            with self.exchanging():
                self.meet()
                dist.all_reduce(tensor)
        return tensor

    def most(self, number: int) -> int:
        """Return the largest number that any process has given."""
        return max(self.gather(number))

    def told(self, item: Any) -> Any:
        """Return what the first process has given, as JSON holds it."""
        return self.gather(item)[0]

    def all_know(self, error: BaseException) -> bool:
        """Return whether the others have ended with the same error, so that all can act on it."""
        return self.size == 1 or error is self._agreed

    @property
    def has_agreed(self) -> bool:
        """Whether all processes have ended a block with the same error."""
        return self._agreed is not None

    @contextmanager
    def exchanging(self) -> Iterator[None]:
        """End this process, with a line that says why, where what is exchanged inside fails.

        Such as an update's gradients, which PyTorch exchanges by itself: it raises where another
        process is gone, or does not come within a minute.
        """
        if self.size == 1 or self.links is None:
            yield
            return
        try:
            yield
        except RuntimeError as error:
            if not is_lost(error):
                raise
            self.links.lost(error)

    @contextmanager
    def together(self, part: str) -> Iterator[None]:
        """Let whatever ends the block in one process end it in all: an error, or a signal.

        Inside, no process may exchange anything: each does its own work, as long as that takes.

        Args:
            part: what is done, such as "sampling", for the message of a process that is gone.

        Raises:
            Exception: the error of the lowest rank that has one; in the others one of the same
                kind with the same text, which names that rank.
            Interrupted: a signal came, to any of them.
        """
        if self.size == 1 or self._blocks > 0:  # what is around it tells the others
            yield
            return
        with self._ending_together(part, at_once=True):
            yield

    @contextmanager
    def _ending_together(self, part: str, *, at_once: bool) -> Iterator[None]:
        error: BaseException | None = None
        self.part = part
        self._blocks += 1
        try:
            yield
        except (Exception, KeyboardInterrupt) as raised:
            error = raised
        finally:
            self._blocks -= 1
        ended = self._agree(error, at_once=at_once)
        if ended is not None:
            self._agreed = ended
            raise ended

    def leaders_first(self, part: str, work: Callable[[], T]) -> T:
        """Return what this process's own work gives; the first of each machine does its own first.

        The others then find what it has kept, such as which images can be decoded.

        Args:
            part: as of `together`.
            work: done by each process.
        """
        done: list[T] = []
        for leaders in (True, False):
            with self.together(part):
                if (self.place.local_rank == 0) is leaders:
                    done.append(work())
        return done[0]

    def by_the_first(self, part: str, work: Callable[[], T]) -> T:
        """Return on all processes what the first one's work returned; it alone does it.

        Where it fails, all raise, as `together` does; a signal waits for a `together` block.

        Args:
            part: as of `together`. Inside such a block, or inside other work of the first one, the
                others are told nothing here: they get None.
            work: returns what JSON holds; alone it may return anything.
        """
        if self.size == 1 or self._blocks > 0:
            return work() if self.is_first else cast(T, None)
        found = []
        with self._ending_together(part, at_once=False):
            if self.is_first:
                found.append(work())
        return self.gather(found)[0][0]

    def _agree(self, error: BaseException | None, *, at_once: bool) -> BaseException | None:
        """Tell the others how the block ended here; return what all of them end it with."""
        outcomes = self.gather(outcome(error))
        if isinstance(error, KeyboardInterrupt):
            return error
        for one in outcomes:
            if one["ends"]:
                requests.is_served = True
                return Interrupted(one["signal"])
        if signals := [one["signal"] for one in outcomes if one["signal"]]:
            requests.pass_on(signals[0])
            if at_once and is_whole():
                requests.is_served = True
                return Interrupted(signals[0])
        failed = [rank for rank, one in enumerate(outcomes) if one["kind"] is not None]
        if not failed:
            return None
        own = failed[0] == self.rank
        return error if own else as_told(failed[0], outcomes[failed[0]])

    def meet(self) -> None:
        """Wait for the others, as long as they live."""
        assert self.links is not None, "joined"
        self._waits, self._met = True, self._met + 1
        try:
            self.links.meet()
        finally:
            self._waits = False

    def _gather_bytes(self, payload: bytes) -> list[bytes]:
        with self.exchanging():
            self.meet()
            return gather_bytes(payload, self.size)
