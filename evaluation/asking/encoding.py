"""From an example to its prompt, with room for the answer: one way for training and scoring."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from data.examples import VQAExample
from data.turns import TurnBuilder
from evaluation.answers.redrawn import Redraw
from evaluation.asking.prompt_check import beyond_context
from grpo.prefetch import WORKERS
from models.policy import Policy
from models.prompts.image_processor import seen_image
from models.prompts.prompt import EncodedPrompt

T = TypeVar("T")


def encode_checked(
    policy: Policy,
    example: VQAExample,
    turn_builder: TurnBuilder,
    max_completion_tokens: int,
    redraw: Redraw | None = None,
) -> EncodedPrompt:
    """Return the example's prompt, having checked that its completion fits after it.

    Args:
        policy: the model that is asked.
        example: the question.
        turn_builder: makes its turn.
        max_completion_tokens: longest completion.
        redraw: what is done to each image, in the size that the model sees; None: nothing.

    Raises:
        ValueError: it does not; the example and the three numbers are named. An image cannot be
            read, or the text holds a special token.
    """
    turn = turn_builder(example)
    images, keep_size = turn.images, turn.keep_size
    if redraw is not None:
        processor = policy.processor.image_processor
        images = [redraw(seen_image(processor, image, keep_size=keep_size)) for image in images]
        keep_size = True  # it is the model's own already
    prompt = policy.processor.encode(turn.text, images, system=turn.system, keep_size=keep_size)
    reason = beyond_context(prompt.num_tokens, max_completion_tokens, policy.context_tokens)
    if reason is not None:
        raise ValueError(f"example {example.id} {reason}")
    return prompt


def encoded_ahead(
    batches: Sequence[Sequence[VQAExample]], encode: Callable[[VQAExample], T]
) -> Generator[list[T]]:
    """Yield what ``encode`` makes of each batch; threads encode the next while one is answered.

    Two batches of prompts are in memory, no more. What ``encode`` raises comes out where its batch
    is due. Ending early stops the threads.
    """
    upcoming, waiting = iter(batches), deque[list[Future]]()
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="groupwise-encoding")

    def begin_next() -> None:
        batch = next(upcoming, None)
        if batch is not None:
            waiting.append([pool.submit(encode, example) for example in batch])

    try:
        begin_next()
        while waiting:
            prompts = [future.result() for future in waiting.popleft()]
            begin_next()
            yield prompts
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
