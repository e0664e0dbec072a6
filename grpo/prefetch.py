"""The next batches, encoded by background threads while the device computes.

Reading and preprocessing an image takes milliseconds of CPU time in libraries that let other
threads run. Which examples a step gets is decided by its number alone, so threads change no result.

An example that cannot be encoded when its turn comes (its image file was damaged or vanished since
it was checked) costs its row, not the run: another takes its place, which is decided by the place
alone as well. The position stays the row's own, so no random number of another row moves.

Of several processes each encodes its own share of a batch, and knows the examples of all.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from grpo.rollout import PromptBatch
from grpo.unreadable import ROW_ERRORS, UnreadableRows
from models.prompts.prompt import EncodedPrompt
from process.ranks import world

WORKERS = 2
STEPS_AHEAD = 2


class BatchLoader:
    """Batches of consecutive steps, each example encoded once and before it is asked for.

    Used as a context: leaving it stops the threads, however the steps ended.
    """

    def __init__(
        self,
        example_at: Callable[[int], Any],
        replacement_at: Callable[[int, int], Any],
        encode: Callable[[Any], EncodedPrompt],
        prompts_per_step: int,
        steps: range,
    ) -> None:
        """Prepare the batches of ``steps``; nothing is read before the context is entered.

        Args:
            example_at: position in the run's data order -> example; called on the caller's thread.
            replacement_at: (position, attempt 0, 1, ..) -> example to take instead.
            encode: example -> prompt; called on any thread. A ValueError or OSError costs
                the example its place, anything else comes out of `batch`.
            prompts_per_step: N.
            steps: that will be asked for, in this order.
        """
        self._example_at, self._replacement_at = example_at, replacement_at
        self._encode, self._size = encode, prompts_per_step
        self._upcoming = iter(steps)
        self._waiting: deque[tuple[int, list[tuple[Any, Future]]]] = deque()
        self._unreadable = UnreadableRows()

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="groupwise-data")
        for _ in range(STEPS_AHEAD):
            self._begin_next()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def batch(self, step: int) -> PromptBatch:
        """Return the batch of the next step in order, waiting for it if it is not ready.

        Raises:
            ValueError: too many examples in a row could not be encoded, see grpo/unreadable.py.
        """
        self._begin_next()
        expected, items = self._waiting.popleft()
        assert step == expected, f"step {step} was asked for, {expected} is next"
        positions = self._positions(step)
        own = world().place.share(self._size)
        redrawn: list[str] = []
        with world().together("data"):
            rows = [
                self._row(positions[index], *item, redrawn)
                for index, item in zip(own, items, strict=True)
            ]
        told = world().gather([redrawn, [attempts for *_, attempts in rows]])
        attempts = [attempt for _, others in told for attempt in others]
        examples = [
            rows[index - own.start][0] if index in own else self._taken(position, attempt)
            for index, (position, attempt) in enumerate(zip(positions, attempts, strict=True))
        ]
        return PromptBatch(
            prompts=tuple(prompt for _, prompt, _ in rows),
            examples=tuple(examples),
            positions=positions,
            step=step,
            redrawn=tuple(text for texts, _ in told for text in texts),
            first=own.start,
        )

    def _taken(self, position: int, attempts: int) -> Any:
        """Return what another process has taken at a position, after so many failed attempts."""
        if attempts == 0:
            return self._example_at(position)
        return self._replacement_at(position, attempts - 1)

    def _row(
        self, position: int, example: Any, future: Future, redrawn: list[str]
    ) -> tuple[Any, EncodedPrompt, int]:
        """Return an example, its prompt, and how many others could not be read in its place."""
        attempt, first_error = 0, ""
        while True:
            # What failed on a background thread is raised here, on the caller's.
            try:
                prompt = future.result() if attempt == 0 else self._encode(example)
            except ROW_ERRORS as error:
                self._unreadable.add(error)
                first_error = first_error or f"{error}"
                example = self._replacement_at(position, attempt)
                attempt += 1
                continue
            self._unreadable.clear()
            if attempt:
                name = getattr(example, "id", example)
                redrawn.append(f"a row is redrawn, {name} takes its place: {first_error}")
            return example, prompt, attempt

    def _begin_next(self) -> None:
        step = next(self._upcoming, None)
        if step is None:
            return
        positions = self._positions(step)
        examples = [self._example_at(positions[i]) for i in world().place.share(self._size)]
        self._waiting.append(
            (step, [(example, self._pool.submit(self._encode, example)) for example in examples])
        )

    def _positions(self, step: int) -> tuple[int, ...]:
        return tuple(range(step * self._size, (step + 1) * self._size))
