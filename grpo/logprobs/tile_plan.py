"""How the log-prob op cuts its work: blocks of tokens, chunks of the vocabulary, runs of bans.

No tensors here; every backend shares the plan. N tokens, V vocabulary, as in api.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

Span = tuple[int, int]  # [start, stop) of columns or tokens

_ALIGNMENT = 64  # columns; whole cache lines per row keep the matrix product on its fast path
# Below these a matrix product is bound by reading its operands, not by its arithmetic.
_LEAST_COLUMNS = 256
_LEAST_TOKENS = 4096


@dataclass(frozen=True)
class TilePlan:
    """Everything about one call that is not a tensor. A tile is `tokens` rows by `columns`."""

    num_tokens: int
    vocab_size: int
    tokens: int  # of one tile; the last block may be shorter
    columns: int  # of one tile; the last chunk may be narrower
    tile_dtype: torch.dtype
    temperature: float
    with_entropy: bool
    banned_runs: tuple[Span, ...]
    ignore_index: int

    def vocabulary_chunks(self) -> Iterator[Span]:
        """Yield the columns [start, stop) of every chunk, in order."""
        return _cut(self.vocab_size, self.columns)

    def token_blocks(self) -> Iterator[Span]:
        """Yield the tokens [start, stop) of every block, in order; none for no tokens."""
        return _cut(self.num_tokens, self.tokens)

    def banned_in(self, start: int, stop: int) -> list[Span]:
        """Return the banned runs inside columns [start, stop), counted from ``start``."""
        clipped = ((max(low, start), min(high, stop)) for low, high in self.banned_runs)
        return [(low - start, high - start) for low, high in clipped if low < high]


def _cut(size: int, part: int) -> Iterator[Span]:
    """Yield spans of ``part`` that cover 0 to ``size``; the last may be shorter."""
    for start in range(0, size, part):
        yield start, min(start + part, size)


def tile_shape(num_tokens: int, vocab_size: int, tile_bytes: int, itemsize: int) -> Span:
    """Return tokens and columns of a tile of logits of ``itemsize`` bytes within ``tile_bytes``.

    All tokens at once where that leaves enough columns, so that each weight is read once and each
    row of its gradient is one matrix product; else blocks of tokens.

    Raises:
        ValueError: not even one column fits.

    >>> tile_shape(num_tokens=1024, vocab_size=151_936, tile_bytes=2**20, itemsize=4)
    (1024, 256)
    >>> tile_shape(num_tokens=2**20, vocab_size=151_936, tile_bytes=2**24, itemsize=4)
    (16384, 256)
    """
    most_tokens = max(_LEAST_TOKENS, tile_bytes // (min(_LEAST_COLUMNS, vocab_size) * itemsize))
    tokens = min(max(num_tokens, 1), most_tokens)
    columns = tile_bytes // (tokens * itemsize)
    if columns < 1:
        raise ValueError(
            f"tile_bytes={tile_bytes} holds no column of {tokens} tokens: pass at least"
            f" {tokens * itemsize}, or fewer tokens"
        )
    if columns >= _ALIGNMENT:
        columns -= columns % _ALIGNMENT
    return tokens, min(columns, vocab_size)


@lru_cache(maxsize=64)  # a run has one or two lists of bans, asked for at every call
def id_runs(ids: Sequence[int], vocab_size: int) -> tuple[Span, ...]:
    """Return ``ids`` as sorted runs of neighbours: filling a slice needs no index on the device.

    Raises:
        ValueError: an id outside the vocabulary, or nothing left that is not in ``ids``.

    >>> id_runs((7, 3, 4, 5, 3), vocab_size=9)
    ((3, 6), (7, 8))
    """
    unique = sorted(set(ids))
    if unique and not (unique[0] >= 0 and unique[-1] < vocab_size):
        outside = [token_id for token_id in unique if not 0 <= token_id < vocab_size]
        raise ValueError(f"banned_ids {outside} are outside the vocabulary of {vocab_size} ids")
    if len(unique) == vocab_size:
        raise ValueError(f"banned_ids holds all {vocab_size} ids: no token is left to be likely")
    members = set(unique)
    starts = [token_id for token_id in unique if token_id - 1 not in members]
    stops = [token_id + 1 for token_id in unique if token_id + 1 not in members]
    return tuple(zip(starts, stops, strict=True))
