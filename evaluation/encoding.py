"""From an example to its prompt, with room for the answer: one way for training and scoring."""

from data.examples import VQAExample
from data.turns import TurnBuilder
from evaluation.preflight import beyond_context
from models.policy import Policy
from models.prompt import EncodedPrompt


def encode_checked(
    policy: Policy, example: VQAExample, turn_builder: TurnBuilder, max_completion_tokens: int
) -> EncodedPrompt:
    """Return the example's prompt, having checked that its completion fits behind it.

    Raises:
        ValueError: it does not; the example and the three numbers are named. An image cannot be
            read, or the text holds a special token.
    """
    turn = turn_builder(example)
    prompt = policy.processor.encode(turn.text, turn.images, keep_size=turn.keep_size)
    reason = beyond_context(prompt.num_tokens, max_completion_tokens, policy.context_tokens)
    if reason is not None:
        raise ValueError(f"example {example.id} {reason}")
    return prompt
