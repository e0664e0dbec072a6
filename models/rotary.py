"""Rotary tables: one for every way to run the model, so that all turn a token alike.

transformers makes them in float32 and rounds them to the weights' dtype; they are taken like that,
and what they turn is computed in float32 and rounded once. Turned in half precision it would be
rounded three times, elsewhere in the update than in the decode step, whose turn is a matrix
product; where query and key biases are large, that alone moves an attention weight visibly.

Shapes: T tokens, d head size.
"""

from torch import Tensor, nn

from models.products import HALF_DTYPES


def rotary_tables(text: nn.Module, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return cos and sin of (3, n, T) positions, (n, T, d) each: float32, or float64 with such.

    Args:
        text: the decoder.
        positions: int64, on any device; the tables are on the weights'.
    """
    weight = text.norm.weight  # only its dtype and device matter
    cos, sin = text.rotary_emb(weight, positions.to(weight.device))
    return _widened(cos), _widened(sin)


def _widened(table: Tensor) -> Tensor:
    return table.float() if table.dtype in HALF_DTYPES else table
