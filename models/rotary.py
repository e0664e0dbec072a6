"""Rotary positions: one table for every way to run the model, so that all rotate a token alike.

transformers makes the tables in float32 and rounds them to the weights' dtype; they are taken like
that, and the rotation is computed in float32 and rounded once. In half precision it would be
rounded three times, elsewhere in the update than in the decode step; where query and key biases
are large, that alone moves an attention weight visibly.

Layers with gradient rotate as transformers does (models/shared/layers.py). Decoding rotates queries
and keys of a token together, by one of two forms of the same formula, its sine signed beforehand:
`rotate` does the least arithmetic; a product with `rotation_matrix` is one kernel where `rotate` is
three or four, which is what counts in a CUDA graph (models/decode/graphed_step.py).

Shapes: N prompts or rows, B rows, T tokens, d head size.
"""

import torch
from torch import Tensor

from models.architecture import Decoder
from models.products import HALF_DTYPES


def rotary_tables(text: Decoder, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return cos and sin of (3, N, T) positions, (N, T, d) each: float32, or float64 with such.

    Args:
        text: the decoder.
        positions: int64, on any device; the tables are on the weights'.
    """
    weight = text.norm.weight  # only its dtype and device matter
    cos, sin = text.rotary_emb(weight, positions.to(weight.device))
    return _widened(cos), _widened(sin)


def signed(sin: Tensor) -> Tensor:
    """Return the sine, (.., d), with its first half negated: as `rotate` wants it.

    rotate_half(x) sin, with rotate_half(x) = [-x2, x1] for x = [x1, x2], is [x2, x1] signed(sin).
    """
    first, second = sin.chunk(2, dim=-1)
    return torch.cat([-first, second], dim=-1)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return (B, heads, d) rotated by its position: x cos + swap_halves(x) sin, the sine signed.

    The tables, (B, 1, d), are float32, so half precision is rounded once, at the end.
    """
    # The sine's sign makes a roll of rotate_half: no negation, no concatenation.
    swapped = heads.roll(heads.shape[-1] // 2, dims=-1)
    return torch.addcmul(heads * cos, swapped, sin).to(heads.dtype)


def rotation_matrix(cos: Tensor, sin: Tensor, diagonal: Tensor, off_diagonal: Tensor) -> Tensor:
    """Return the rotation as a matrix per row, (B, d, d): x @ it = x cos + swap_halves(x) sin.

    Its product has two terms that are not 0, so half precision is rounded once here too.

    Args:
        cos, sin: (B, 1, d), the sine signed.
        diagonal: (d, d), the identity; made once, since a graph's tensors keep their addresses.
        off_diagonal: (d, d), x @ it swaps the halves of x.
    """
    return torch.addcmul(diagonal * cos, off_diagonal, sin)


def _widened(table: Tensor) -> Tensor:
    """Return the table in float32 where it is half precision, else as it is."""
    return table.float() if table.dtype in HALF_DTYPES else table
