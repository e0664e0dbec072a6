"""How the log-prob op cuts its work: vocabulary tiles, and banned ids as runs of columns.

No tensors here, so every backend can share the plan. N tokens, V vocabulary, as in logprobs.py.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

Run = tuple[int, int]  # columns [start, stop)

_ALIGNMENT = 64  # columns; whole cache lines per row keep the matrix product on its fast path


@dataclass(frozen=True)
class Plan:
    """Everything about one call that is not a tensor."""

    vocab_size: int
    columns: int  # of one tile; the last may be narrower
    tile_dtype: torch.dtype
    temperature: float
    with_entropy: bool
    banned_runs: tuple[Run, ...]
    ignore_index: int

    def tiles(self) -> Iterator[Run]:
        """Yield the columns [start, stop) of every tile, in order."""
        for start in range(0, self.vocab_size, self.columns):
            yield start, min(start + self.columns, self.vocab_size)

    def banned_in(self, start: int, stop: int) -> list[Run]:
        """Return the banned runs inside columns [start, stop), counted from ``start``."""
        clipped = ((max(low, start), min(high, stop)) for low, high in self.banned_runs)
        return [(low - start, high - start) for low, high in clipped if low < high]


def tile_columns(num_tokens: int, vocab_size: int, tile_bytes: int, itemsize: int) -> int:
    """Return how many columns of (N, V) logits of ``itemsize`` bytes fit ``tile_bytes``.

    Raises:
        ValueError: not even one column fits.

    >>> tile_columns(num_tokens=1024, vocab_size=151_936, tile_bytes=2**20, itemsize=4)
    256
    """
    column_bytes = max(num_tokens, 1) * itemsize
    columns = tile_bytes // column_bytes
    if columns < 1:
        raise ValueError(
            f"tile_bytes={tile_bytes} holds no column of {num_tokens} tokens: pass at least"
            f" {column_bytes}, or fewer tokens"
        )
    if columns >= _ALIGNMENT:
        columns -= columns % _ALIGNMENT
    return min(columns, vocab_size)


def id_runs(ids: Iterable[int], vocab_size: int) -> tuple[Run, ...]:
    """Return ``ids`` as sorted runs of neighbours: filling a slice needs no index on the device.

    Raises:
        ValueError: an id outside the vocabulary, or nothing left that is not in ``ids``.

    >>> id_runs([7, 3, 4, 5, 3], vocab_size=9)
    ((3, 6), (7, 8))
    """
    unique = sorted({int(token_id) for token_id in ids})
    if unique and not (unique[0] >= 0 and unique[-1] < vocab_size):
        outside = [token_id for token_id in unique if not 0 <= token_id < vocab_size]
        raise ValueError(f"banned_ids {outside} are outside the vocabulary of {vocab_size} ids")
    if len(unique) == vocab_size:
        raise ValueError(f"banned_ids holds all {vocab_size} ids: no token is left to be likely")
    members = set(unique)
    starts = [token_id for token_id in unique if token_id - 1 not in members]
    stops = [token_id + 1 for token_id in unique if token_id + 1 not in members]
    return tuple(zip(starts, stops, strict=True))
