"""What the processes of one command say to each other.

Whoever calls a method that exchanges something waits for the others, so all of them call the same
ones in the same order. What only one of them does, such as answering its share of the questions,
stands in a `together` block: an error there would otherwise leave the others waiting.
"""

import functools
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from process.memory import DeviceMemoryError, MemoryRanOutError
from process.ranks.place import Place, place
from process.signals import Interrupted, requests

if TYPE_CHECKING:  # a command that runs alone does not wait for it here
    from torch import Tensor

T = TypeVar("T")
P = ParamSpec("P")

TIMEOUT = timedelta(minutes=30)

# The kinds of error that commands explain; any other comes to the other ranks as a RuntimeError.
_KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (ValueError, OSError, FloatingPointError, DeviceMemoryError, MemoryRanOutError)
}


class World:
    """The processes of this command, this one among them."""

    def __init__(self, own: Place) -> None:
        """Know this process's place; `joined` has connected them."""
        self.place = own
        self.part = "starting"  # what this process does, or has done last
        self._blocks = 0  # of `together`, around what runs now
        self._agreed: BaseException | None = None  # what the last of them has ended with
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
        if self.size == 1:
            yield
            return
        error: BaseException | None = None
        self.part = part
        self._blocks += 1
        try:
            yield
        except (Exception, KeyboardInterrupt) as raised:
            error = raised
        finally:
            self._blocks -= 1
        self._agreed = self._agree(error)
        if self._agreed is not None:
            raise self._agreed

    def by_the_first(self, part: str, work: Callable[[], T]) -> T:
        """Return on all processes what the first one's work returned; it alone does it.

        Where it fails, all raise, as `together` does. Inside, it may call what does the same.

        Args:
            part: as of `together`.
            work: returns what JSON holds; alone it may return anything.
        """
        if self.size == 1 or self._does_alone:
            return work()
        found = []
        with self.together(part):
            if self.is_first:
                self._does_alone = True
                try:
                    found.append(work())
                finally:
                    self._does_alone = False
        return self.gather(found)[0][0]

    def _agree(self, error: BaseException | None) -> BaseException | None:
        """Tell the others how the block ended here; return what all of them end it with."""
        outcomes = self.gather(_outcome(error))
        if isinstance(error, KeyboardInterrupt):
            return error
        if signals := [outcome["signal"] for outcome in outcomes if outcome["signal"]]:
            requests.is_served = True
            return Interrupted(signals[0])
        failed = [rank for rank, outcome in enumerate(outcomes) if outcome["kind"] is not None]
        if not failed:
            return None
        own = failed[0] == self.rank
        return error if own else _as_told(failed[0], outcomes[failed[0]])

    def _gather_bytes(self, payload: bytes) -> list[bytes]:
        import torch
        import torch.distributed as dist

        own = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(sizes, torch.tensor([len(own)]))
        longest = max(int(size) for size in sizes)
        padded = torch.nn.functional.pad(own, (0, longest - len(own)))
        found = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(found, padded)
        return [bytes(part[: int(size)].numpy()) for part, size in zip(found, sizes, strict=True)]


_ALONE = World(Place())
_current = _ALONE


def world() -> World:
    """Return the processes that this one talks to; itself alone outside of `joined`."""
    return _current


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


@contextmanager
def joined() -> Iterator[World]:
    """Connect the processes that torchrun has started, for the block; alone nothing happens.

    Each takes the GPU of its local rank, where there are GPUs.

    Raises:
        ValueError: there are fewer GPUs than processes on this machine.
    """
    global _current
    own = place()
    if own.size == 1 or _current.size > 1:
        yield _current
        return
    import torch
    import torch.distributed as dist

    backend = "gloo"
    if torch.cuda.is_available():
        if own.local_rank >= torch.cuda.device_count():
            raise ValueError(
                f"process {own.local_rank + 1} of this machine has no GPU of its own: there are"
                f" {torch.cuda.device_count()}; start as many with --nproc-per-node"
            )
        torch.cuda.set_device(own.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=TIMEOUT)
    _current = World(own)
    requests.may_end = lambda: world().may_end
    try:
        yield _current
    finally:
        _current = _ALONE
        requests.may_end = lambda: True
        dist.destroy_process_group()


def _outcome(error: BaseException | None) -> dict[str, Any]:
    number = requests.number if requests.number is not None and not requests.is_served else None
    if isinstance(error, KeyboardInterrupt):
        number = getattr(error, "number", signal.SIGINT)
        error = None
    return {
        "signal": number,
        "kind": None if error is None else _kind(error),
        "text": f"{error}",
        "notes": list(getattr(error, "__notes__", [])),
    }


def _kind(error: BaseException) -> str:
    known = (name for name, kind in _KINDS.items() if isinstance(error, kind))
    return next(known, type(error).__name__)


def _as_told(rank: int, outcome: dict[str, Any]) -> Exception:
    """Return the error of another rank, as far as it can be told."""
    told = _KINDS.get(outcome["kind"], RuntimeError)(f"rank {rank}: {outcome['text']}")
    for note in outcome["notes"]:
        told.add_note(note)
    return told
