"""What decoding goes on from, eager or graphed: the same three things can be done with either.

Shapes: N prompts, B rows, D hidden size, d head size.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from models.architecture import Decoder
from models.prompts.prompt import EncodedPrompt
from models.rotary import rotary_tables, signed


class DecodeState(Protocol):
    """B rows with the keys and values of their prompts and of the tokens decoded so far."""

    @property
    def num_rows(self) -> int:
        """Rows that are still decoded, B."""
        ...

    def decode(self, token_ids: Tensor) -> Tensor:
        """Return the (B, D) hidden states after one more token of every row, (B,) int64."""
        ...

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, (B',) int64, in this order: the others cost nothing any more."""
        ...


def tables_to_come(
    text: Decoder, prompts: Sequence[EncodedPrompt], max_new_tokens: int
) -> tuple[Tensor, Tensor]:
    """Return cos and signed sin of the tokens after each prompt, (N, max_new_tokens, d) each."""
    starts = torch.tensor([prompt.next_position for prompt in prompts])  # (N,)
    # Text advances on all three axes alike (models/prompts/positions.py).
    positions = (starts[:, None] + torch.arange(max_new_tokens)).expand(3, -1, -1)
    cos, sin = rotary_tables(text, positions)
    return cos, signed(sin)


def full_error(tokens: int) -> ValueError:
    """Return the error of one token too many."""
    return ValueError(
        f"the caches are full after {tokens} tokens: prefill with a larger max_new_tokens"
    )
