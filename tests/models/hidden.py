"""The hidden states of whole rows as a rectangle, which tests compare more easily."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from models.policy import Policy
from models.prompts.prompt import EncodedPrompt


def completion_hidden(
    policy: Policy,
    prompts: Sequence[EncodedPrompt],
    rows_per_prompt: Sequence[int],
    completion_ids: Tensor,
    **options: Any,
) -> Tensor:
    """Return `scored_hidden` of every token of (M, C) ids, as (M, C, D)."""
    rows, length = completion_ids.shape
    hidden = policy.scored_hidden(
        prompts, rows_per_prompt, completion_ids, [length] * rows, **options
    )
    return hidden.unflatten(0, (rows, length))
