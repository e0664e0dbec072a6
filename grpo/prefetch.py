"""The next batches, encoded by background threads while the device computes.

Reading and preprocessing an image takes milliseconds of CPU time in libraries that let other
threads run. The run's data order is read from its beginning, each position once: a step takes the
next N, and, where it draws again (grpo/dynamic_sampling.py), as many more as it asks for. So which
examples a step gets is decided by how many were taken before it, and threads change no result.

An example that cannot be encoded when its turn comes (its image file was damaged or vanished since
it was checked) costs its row, not the run: another takes its place, which is decided by the place
alone as well. The position stays the row's own, so no random number of another row moves.

Of several processes each encodes its own share of a batch, and knows the examples of all.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from grpo.rollout import PromptBatch
from grpo.unreadable import ROW_ERRORS, UnreadableRows
from models.prompts.prompt import EncodedPrompt
from process.bars import warn
from process.ranks import world

WORKERS = 2
STEPS_AHEAD = 2
_STATE = "data_position"


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
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepare the batches of ``steps``; nothing is read before the context is entered.

        Args:
            example_at: position in the run's data order -> example; called on the caller's thread.
            replacement_at: (position, attempt 0, 1, ..) -> example to take instead.
            encode: example -> prompt; called on any thread. A ValueError or OSError costs
                the example its place, anything else comes out of `batch`.
            prompts_per_step: N.
            steps: that will be asked for, in this order.
            state: state.json of the checkpoint that they go on from, which knows whether those
                before have taken more than N each.
        """
        self._example_at, self._replacement_at = example_at, replacement_at
        self._encode, self._size = encode, prompts_per_step
        self._begun, self._end = steps.start, steps.stop  # steps, those of before included
        self._next = (state or {}).get(_STATE, steps.start * prompts_per_step)
        self._before = self._next  # `_next` when the newest step began
        self._waiting: dict[int, tuple[Any, Future]] = {}  # by position
        self._unreadable = UnreadableRows()

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="groupwise-data")
        self._encode_ahead(STEPS_AHEAD)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def batch(self, step: int) -> PromptBatch:
        """Return the batch of the next step in order, waiting for it if it is not ready.

        Raises:
            ValueError: too many examples in a row could not be encoded, see grpo/unreadable.py.
        """
        assert step == self._begun, f"step {step} was asked for, {self._begun} is next"
        self._encode_ahead(STEPS_AHEAD + 1)
        self._begun, self._before = step + 1, self._next
        return self._drawn(step, self._size, world().place.share(self._size))

    def more(self, places: Sequence[int]) -> PromptBatch:
        """Return the next examples of the order, one for each of these places of the newest step.

        Of several processes each has the prompts of its own places.

        Args:
            places: of the step's N, ascending; the same ones in every process.

        Raises:
            ValueError: as `batch`.
        """
        share = world().place.share(self._size)
        mine = [index for index, place in enumerate(places) if place in share]
        first = sum(place < share.start for place in places)
        batch = self._drawn(self._begun - 1, len(places), range(first, first + len(mine)))
        for text in batch.redrawn:
            warn(f"step {self._begun}: {text}")
        return batch

    def state(self, done: int) -> dict[str, int]:
        """Return, for state.json, where the order goes on after ``done`` steps.

        Empty where each has taken N. What a step in work has taken it will take again.
        """
        position = self._next if self._begun == done else self._before
        return {} if position == done * self._size else {_STATE: position}

    def _drawn(self, step: int, count: int, own: range) -> PromptBatch:
        positions = tuple(range(self._next, self._next + count))
        items = [self._begin(positions[index]) for index in own]
        self._next += count
        # Of several processes one has begun what, after a step that drew again, is another's.
        for position in [one for one in self._waiting if one < self._next]:
            del self._waiting[position]
        self._encode_ahead(STEPS_AHEAD)
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
            more=self.more,
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

    def _encode_ahead(self, steps: int) -> None:
        """Begin what this process will need of the next steps, if none of them draws again."""
        share = world().place.share(self._size)
        for ahead in range(min(steps, self._end - self._begun)):
            for index in share:
                position = self._next + ahead * self._size + index
                self._waiting[position] = self._begin(position)

    def _begin(self, position: int) -> tuple[Any, Future]:
        """Return an example and its prompt to be, begun now or before."""
        if (item := self._waiting.pop(position, None)) is not None:
            return item
        example = self._example_at(position)
        return example, self._pool.submit(self._encode, example)
