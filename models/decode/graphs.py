"""A function of fixed shapes and fixed addresses, recorded once and replayed as one launch.

A decode step of a 2B model is several hundred small kernels; launched one by one from Python they
take longer than they run. A CUDA graph launches all of them at once. The price: what was recorded
reads and writes the very addresses of the recording, and no value of the host is seen again.

All graphs draw their intermediate tensors from one memory pool. That is safe in any order of
replays because no result stays there: functions write results into tensors made outside.
"""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch

Function = Callable[[], None]
PoolHandle = Any  # of torch.cuda.graph_pool_handle, whose type torch keeps to itself


class StandIn:
    """What a CPU has for a graph: replaying calls the function, on the same tensors."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def replay(self) -> None:
        """Do once what the function does."""
        self._function()


class Graphs:
    """The last ``limit`` functions in use, by key: captured when first asked for, then kept.

    A capture that fails is said once, as a warning; from then on functions are called as they are,
    which gives the same numbers, more slowly. Functions must be idempotent: the warm-up runs them.
    """

    def __init__(self, device: torch.device | None, *, limit: int = 64) -> None:
        """Capture on this CUDA device; None makes stand-ins, on any device."""
        self.device, self.limit = device, limit
        self._graphs: OrderedDict[Hashable, StandIn | torch.cuda.CUDAGraph] = OrderedDict()
        # Made with the first graph, so that a process without graphs makes neither.
        self._stream: torch.cuda.Stream | None = None
        self._pool: PoolHandle | None = None

    def clear(self) -> None:
        """Drop all graphs and their memory, as when an address they hold changes."""
        self._graphs.clear()
        self._pool = None  # a pool whose last graph is gone must not be used again

    def get(self, key: Hashable, make: Callable[[], Function]) -> "StandIn | torch.cuda.CUDAGraph":
        """Return the graph of this key; a new one is made from the function ``make()``."""
        if key not in self._graphs:
            self._graphs[key] = self._graph_of(make())
            if len(self._graphs) > self.limit:  # after adding, so that the pool is never empty
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        return self._graphs[key]

    def _graph_of(self, function: Function) -> "StandIn | torch.cuda.CUDAGraph":
        """Return the function captured, or a stand-in where it is not or cannot be."""
        if self.device is None:
            return StandIn(function)
        if self._stream is None:
            self._stream = torch.cuda.Stream(self.device)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        warm_up(function, self._stream)
        try:
            return capture(function, self._stream, self._pool)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            warnings.warn(
                f"a CUDA graph could not be captured ({error}): decoding goes on without graphs,"
                " with the same results, more slowly. Nothing has to be done; the speed comes back"
                " in a new process once what the error names is gone",
                RuntimeWarning,
                stacklevel=2,
            )
            self.device = None
            return StandIn(function)


def warm_up(function: Function, stream: torch.cuda.Stream) -> None:
    """Run the function once on the stream of the capture: kernels load, workspaces are made.

    Neither may happen in a capture; an error of the function itself shows here, not there.
    """
    usual = torch.cuda.current_stream(stream.device)
    stream.wait_stream(usual)
    with torch.cuda.stream(stream):
        function()
    usual.wait_stream(stream)


def capture(
    function: Function, stream: torch.cuda.Stream, pool: PoolHandle
) -> torch.cuda.CUDAGraph:
    """Return the function as a graph; nothing is computed yet.

    Only calls of this thread are checked: others read images meanwhile, and may allocate.
    """
    graph = torch.cuda.CUDAGraph()
    # The first context makes the stream's device the current one, the only one torch.cuda.graph
    # waits for; and it puts the usual stream back, which a capture that fails at its end does not.
    with (
        torch.cuda.stream(torch.cuda.current_stream(stream.device)),
        torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
    ):
        function()
    return graph
