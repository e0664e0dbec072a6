"""The next batches, encoded by background threads while the device computes.

Reading and preprocessing an image takes milliseconds of CPU time in libraries that let other
threads run. Which examples a step gets is decided by its number alone, so threads change no result.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from grpo.rollout import PromptBatch
from models.prompt import EncodedPrompt

WORKERS = 2
STEPS_AHEAD = 2


class BatchLoader:
    """Batches of consecutive steps, each example encoded once and before it is asked for.

    Used as a context: leaving it stops the threads, however the steps ended.
    """

    def __init__(
        self,
        example_at: Callable[[int], Any],
        encode: Callable[[Any], EncodedPrompt],
        prompts_per_step: int,
        steps: range,
    ) -> None:
        """Prepare the batches of ``steps``; nothing is read before the context is entered.

        Args:
            example_at: position in the run's data order -> example; called on the caller's thread.
            encode: example -> prompt; called on any thread. What it raises comes out of `batch`.
            prompts_per_step: N.
            steps: that will be asked for, in this order.
        """
        self._example_at, self._encode, self._size = example_at, encode, prompts_per_step
        self._upcoming = iter(steps)
        self._waiting: deque[tuple[int, list[tuple[Any, Future]]]] = deque()

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="groupwise-data")
        for _ in range(STEPS_AHEAD):
            self._begin_next()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def batch(self, step: int) -> PromptBatch:
        """Return the batch of the next step in order, waiting for it if it is not ready."""
        self._begin_next()
        expected, items = self._waiting.popleft()
        assert step == expected, f"step {step} was asked for, {expected} is next"
        return PromptBatch(
            prompts=tuple(future.result() for _, future in items),
            examples=tuple(example for example, _ in items),
            positions=self._positions(step),
            step=step,
        )

    def _begin_next(self) -> None:
        step = next(self._upcoming, None)
        if step is None:
            return
        examples = [self._example_at(position) for position in self._positions(step)]
        self._waiting.append(
            (step, [(example, self._pool.submit(self._encode, example)) for example in examples])
        )

    def _positions(self, step: int) -> tuple[int, ...]:
        return tuple(range(step * self._size, (step + 1) * self._size))
