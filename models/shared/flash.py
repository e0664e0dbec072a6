"""Varlen flash attention, the two calls that models/shared/varlen.py makes, by torch's operators.

Sequences of different length lie one after the other in one tensor, without padding; bounds say
where each begins. The operators give the log-sum-exp beside what is read, which the public
functions of torch keep to themselves.

Shapes: S sequences, T_q queries, T_k keys, H query heads, Hkv key/value heads, d head size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from models.products import HALF_DTYPES

LARGEST_HEAD = 192  # beyond it some cards lack the backward


@dataclass(frozen=True)
class Segments:
    """S sequences that follow one another in a packed tensor; some may be empty.

    >>> Segments.of([2, 0, 3], torch.device("cpu"))
    Segments(bounds=tensor([0, 2, 2, 5], dtype=torch.int32), longest=3)
    """

    bounds: Tensor  # (S + 1,) int32: sequence s is bounds[s] up to bounds[s + 1]
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> "Segments":
        """Return the bounds of S sequences of these lengths, on the device."""
        # int32, as the kernels read them; made on the CPU, where the longest is known too.
        bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)  # (S + 1,)
        return cls(bounds.to(device), max(lengths))


class Flash(NamedTuple):
    """The two calls that a device must have; tests bring slow ones of their own.

    forward:  query (T_q, H, d), key and value (T_k, Hkv, d), Segments of the queries and of the
              keys, causal, scale -> read (T_q, H, d), lse (H, T_q)
    backward: grad (T_q, H, d), query, key, value, read, lse, then as above -> their gradients

    A causal call has the same segments for queries and keys. No query is without a key; a key that
    no query reads gets a gradient of zero.
    """

    forward: Callable[..., tuple[Tensor, Tensor]]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]]


def flash_for(device: torch.device, dtype: torch.dtype, head_size: int) -> Flash | None:
    """Return torch's own varlen flash where it runs, else None.

    It runs on NVIDIA cards from compute capability 8.0 on, in half precision, unless
    `torch.backends.cuda.enable_flash_sdp(False)` forbade it. (On AMD's the same operators leave the
    log-sum-exp in other layouts: not used there.)
    """
    if device.type != "cuda" or torch.version.hip or dtype not in HALF_DTYPES:
        return None
    cuda = torch.backends.cuda
    if not (cuda.is_flash_attention_available() and cuda.flash_sdp_enabled()):
        return None
    # The kernels load vectors of 8 halves.
    if head_size % 8 or head_size > LARGEST_HEAD:
        return None
    return ATEN if torch.cuda.get_device_capability(device) >= (8, 0) else None


def _aten_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    queries: Segments,
    keys: Segments,
    *,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Return the attention output and its log-sum-exp, by torch's operator: see `Flash`."""
    # 0.0 and False: no dropout, and no mask of it to be returned.
    read, lse, *_ = torch.ops.aten._flash_attention_forward(
        *(query, key, value, *_lengths(queries, keys)), 0.0, causal, False, scale=scale
    )  # (T_q, H, d), (H, T_q)
    return read, lse


def _aten_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    read: Tensor,
    lse: Tensor,
    queries: Segments,
    keys: Segments,
    *,
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value, by torch's operator: see `Flash`."""
    # The state of a random generator, for dropout: there is none, so it is never read.
    random_state, unused = (lse.new_empty(size, dtype=torch.uint64) for size in (2, 0))
    return torch.ops.aten._flash_attention_backward(
        *(grad, query, key, value, read, lse, *_lengths(queries, keys)),
        *(0.0, causal, random_state, unused),
        scale=scale,
    )


def _lengths(queries: Segments, keys: Segments) -> tuple[Tensor, Tensor, int, int]:
    """Return the operators' cum_seq_q, cum_seq_k, max_q, max_k.

    max_q is at least 2: where all are of 1 query, the forward takes a path for decoding that
    folds the query heads and is wrong where a sequence has none. It only sizes the launch.
    """
    return queries.bounds, keys.bounds, max(queries.longest, 2), keys.longest


ATEN = Flash(_aten_forward, _aten_backward)
