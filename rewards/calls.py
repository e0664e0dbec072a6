"""How reward functions are waited for: the asynchronous ones run in one event loop of their own.

It runs in a thread, since a notebook's main thread has a loop that runs already, and since who
waits can look for signals meanwhile.
"""

import asyncio
import concurrent.futures
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

_PATIENCE = 0.1  # seconds from one look for signals to the next


class Calls:
    """The event loop of some rewards, begun at the first use; the block's end closes it.

    Where no block is left, it is closed when nothing refers to it any more.

    >>> async def twice(number):
    ...     return 2 * number
    >>> with Calls() as calls:
    ...     calls.gather([twice(1), twice(2)])
    [2, 4]
    """

    def __init__(self, pause: Callable[[], None] = lambda: None) -> None:
        """Begin nothing yet.

        Args:
            pause: called between two calls and while they are waited for; may raise to end it.
        """
        self.pause = pause
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: Callable[[], object] = lambda: None

    def __enter__(self) -> "Calls":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel what still runs, and close the loop."""
        self.close()

    def close(self) -> None:
        """Cancel what still runs, and close the loop; the next use begins another one."""
        self._end()
        self._loop = None

    def gather(self, awaitables: Sequence[Awaitable]) -> list[Any]:
        """Return the results of all, which run side by side, in their order.

        The first that fails ends the others; what it raises comes out here.
        """
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            thread = threading.Thread(
                target=_serve, args=(self._loop,), name="rewards", daemon=True
            )
            thread.start()
            self._end = weakref.finalize(self, _stop, self._loop, thread)
        future = asyncio.run_coroutine_threadsafe(_all(awaitables), self._loop)
        try:
            while not concurrent.futures.wait([future], _PATIENCE).done:
                self.pause()
            return future.result()
        except _EscapedError as escaped:
            raise escaped.error from None
        finally:
            future.cancel()  # does nothing to one that is done


async def awaited(awaitable: Awaitable) -> Any:
    """Return what is waited for; what cancels itself fails, as anything else that fails.

    Raises:
        RuntimeError: it was cancelled, though nobody ended the whole.
    """
    try:
        return await awaitable
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("cancelled from within") from error


class _EscapedError(Exception):
    """Carries what would end the loop's thread, and not the call, to who waits for it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


async def _all(awaitables: Sequence[Awaitable]) -> list[Any]:
    tasks = [asyncio.ensure_future(_carried(one)) for one in awaitables]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _carried(awaitable: Awaitable) -> Any:
    try:
        return await awaitable
    except (KeyboardInterrupt, SystemExit) as error:
        raise _EscapedError(error) from error


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
