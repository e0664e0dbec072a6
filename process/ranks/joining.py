"""Connecting the processes that torchrun has started, and parting again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from process.ranks.current import become, world
from process.ranks.limits import limits
from process.ranks.place import Place, place
from process.ranks.world import World
from process.signals import at_last

if TYPE_CHECKING:
    from process.ranks.links import Links


@contextmanager
def joined(words: Callable[[], str] = str) -> Iterator[World]:
    """Connect the processes that torchrun has started, for the block; alone nothing happens.

    Each takes the GPU of its local rank, where there are GPUs.

    Args:
        words: returns the error that the work here has said, where none comes out of the block.

    Raises:
        ValueError: there are fewer GPUs than processes on this machine.
    """
    own = place()
    if own.size == 1 or world().size > 1:
        yield world()
        return
    from process.ranks.links import Links

    backend = _take_device(own)
    here, allowed = World(own), limits()
    here.links = links = Links(here, allowed)
    with at_last(links.leave_word):
        links.begin()
        _connect(own, links, backend, allowed.exchange)
        become(here)
        error: BaseException | None = None
        try:
            yield here
        except BaseException as raised:
            error = raised
            raise
        finally:
            become(None)
            if links.part(error, words()):
                _disconnect()


def _take_device(own: Place) -> str:
    """Make the GPU of this process its own; return what its tensors are exchanged by."""
    import torch

    if not torch.cuda.is_available():
        return "gloo"
    if own.local_rank >= torch.cuda.device_count():
        raise ValueError(
            f"process {own.local_rank + 1} of this machine has no GPU of its own: there are"
            f" {torch.cuda.device_count()}; start as many with --nproc-per-node"
        )
    torch.cuda.set_device(own.local_rank)
    return "cpu:gloo,cuda:nccl"


def _connect(own: Place, links: "Links", backend: str, seconds: float) -> None:
    import torch.distributed as dist

    dist.init_process_group(
        backend,
        store=dist.PrefixStore("groups", links.store),
        rank=own.rank,
        world_size=own.size,
        timeout=timedelta(seconds=seconds),
    )


def _disconnect() -> None:
    import torch.distributed as dist

    dist.destroy_process_group()
