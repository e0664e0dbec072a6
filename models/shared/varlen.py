"""Packed groups read exactly as they lie: no prompt copied, nothing padded, no mask made.

Three calls of FlashAttention for sequences of different length (varlen) read the packed tokens of
models/shared/groups.py; each is told where its sequences begin:

    prompts      read themselves, causally
    completions  read their prompt; all rows of a prompt are one long sequence of queries
    completions  read themselves, causally, row by row

The last two are parts of one softmax, merged by their log-sum-exps; forward and backward are those
of models/shared/lse.py. A prompt's keys and values get the sum of what its own tokens and its
completions send back.

models/shared/merged.py is the same mathematics on a CPU, where prompts are padded to one length.

Shapes: N prompts, M completion rows, T packed tokens (T_p of prompts, T_c of completions), S
sequences, H query heads, Hkv key/value heads, d head size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.products import HALF_DTYPES
from models.shared.groups import PackedGroups
from models.shared.lse import merge
from models.shared.padded import KeysValues

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
        bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        return cls(bounds.to(device), max(lengths))


@dataclass(frozen=True)
class PackedSegments:
    """Where the sequences of each of the three attentions begin; made once per forward."""

    prompts: Segments  # N sequences of the T_p prompt tokens
    groups: Segments  # N of the T_c completion tokens: all rows of a prompt together
    rows: Segments  # M of the same tokens: each row alone
    num_prompt_tokens: int  # T_p

    @classmethod
    def of(
        cls,
        prompt_lengths: Sequence[int],
        rows_per_prompt: Sequence[int],
        completion_lengths: Sequence[int],
        device: torch.device,
    ) -> "PackedSegments":
        lengths = iter(completion_lengths)  # rows are prompt-major
        own = [sum(next(lengths) for _ in range(rows)) for rows in rows_per_prompt]
        return cls(
            Segments.of(prompt_lengths, device),
            Segments.of(own, device),
            Segments.of(completion_lengths, device),
            sum(prompt_lengths),
        )


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
    if head_size % 8 or head_size > LARGEST_HEAD:
        return None
    return ATEN if torch.cuda.get_device_capability(device) >= (8, 0) else None


class VarlenReader:
    """Reads a whole packed row; prompts and completions of one forward belong together here."""

    def __init__(self, groups: PackedGroups, flash: Flash) -> None:
        self.groups, self.flash = groups, flash
        self.segments = PackedSegments.of(
            groups.prompt_lengths, groups.rows_per_prompt, groups.completion_lengths, groups.device
        )

    def read(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> tuple[Tensor, KeysValues | None]:
        """Return what each token reads, (T, H, d), and of prompts alone their keys and values.

        Args:
            query: (T, H, d) with rotary positions applied; key and value: (T, Hkv, d).
            scale: of the scores.
        """
        read = varlen_attention(query, key, value, self.segments, self.flash, scale=scale)
        if self.groups.num_completion_tokens:
            return read, None
        # decoding goes on from prompts, and wants rectangles
        pad = self.groups.pad_prompts
        return read, (pad(key).transpose(1, 2), pad(value).transpose(1, 2))  # (N, Hkv, P, d)


def varlen_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: PackedSegments,
    flash: Flash,
    *,
    scale: float,
) -> Tensor:
    """Return what every packed token reads, (T, H, d), with gradient.

    Args:
        query: (T, H, d) with rotary positions applied; key and value: (T, Hkv, d).
        segments: where prompts and completions begin.
        flash: the calls to make.
        scale: of the scores.
    """
    return VarlenAttention.apply(query, key, value, segments, flash, scale)


class VarlenAttention(torch.autograd.Function):
    """See the head of the file; `varlen_attention` calls it."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        segments: PackedSegments,
        flash: Flash,
        scale: float,
    ) -> Tensor:
        """Return (T, H, d)."""
        (q_prompt, q_own), (k_prompt, k_own), (v_prompt, v_own) = (
            _split(packed, segments) for packed in (query, key, value)
        )
        prompts, groups, rows = segments.prompts, segments.groups, segments.rows
        read, lse_prompt = flash.forward(
            q_prompt, k_prompt, v_prompt, prompts, prompts, causal=True, scale=scale
        )
        lse_own = None
        if rows.longest:
            of_prompt = flash.forward(
                q_own, k_prompt, v_prompt, groups, prompts, causal=False, scale=scale
            )
            of_own = flash.forward(q_own, k_own, v_own, rows, rows, causal=True, scale=scale)
            read_own, lse_own = _merged(*of_prompt, *of_own)
            read = torch.cat([read, read_own])
        ctx.save_for_backward(query, key, value, read, lse_prompt, lse_own)
        ctx.segments, ctx.flash, ctx.scale = segments, flash, scale
        return read

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of query, key and value."""
        *packed, lse_prompt, lse_own = ctx.saved_tensors  # query, key, value, read
        segments, flash, scale = ctx.segments, ctx.flash, ctx.scale
        parts = [_split(tensor, segments) for tensor in (grad, *packed)]
        (g_prompt, g_own), (q_prompt, q_own), (k_prompt, k_own), (v_prompt, v_own), reads = parts
        prompts, groups, rows = segments.prompts, segments.groups, segments.rows
        of_itself = flash.backward(
            *(g_prompt, q_prompt, k_prompt, v_prompt, reads[0], lse_prompt, prompts, prompts),
            causal=True,
            scale=scale,
        )
        if lse_own is None:
            return *of_itself, None, None, None
        of_prompt = flash.backward(
            *(g_own, q_own, k_prompt, v_prompt, reads[1], lse_own, groups, prompts),
            causal=False,
            scale=scale,
        )
        of_own = flash.backward(
            *(g_own, q_own, k_own, v_own, reads[1], lse_own, rows, rows), causal=True, scale=scale
        )
        grad_query = torch.cat([of_itself[0], of_prompt[0] + of_own[0]])
        grad_key = torch.cat([of_itself[1] + of_prompt[1], of_own[1]])
        grad_value = torch.cat([of_itself[2] + of_prompt[2], of_own[2]])
        return grad_query, grad_key, grad_value, None, None, None


def _split(packed: Tensor, segments: PackedSegments) -> tuple[Tensor, Tensor]:
    """Return views of the prompts' (T_p, ...) and of the completions' (T_c, ...) tokens."""
    first = segments.num_prompt_tokens
    return packed[:first], packed[first:]


def _merged(read: Tensor, lse: Tensor, other: Tensor, other_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Return read (T_c, H, d) and lse (H, T_c) over both parts; the kernels have heads first."""
    read, lse = merge(read, lse.t()[..., None], other, other_lse.t()[..., None])
    return read, lse[..., 0].t().contiguous()  # as it lies already: the kernels walk it by T_c


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
    read, lse, *_ = torch.ops.aten._flash_attention_forward(
        *(query, key, value, *_lengths(queries, keys)), 0.0, causal, False, scale=scale
    )
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
    # the state of a random generator, for dropout: there is none, so it is never read
    random_state, unused = (lse.new_empty(size, dtype=torch.uint64) for size in (2, 0))
    return torch.ops.aten._flash_attention_backward(
        *(grad, query, key, value, read, lse, *_lengths(queries, keys)),
        *(0.0, causal, random_state, unused),
        scale=scale,
    )


def _lengths(queries: Segments, keys: Segments) -> tuple[Tensor, Tensor, int, int]:
    """Return the operators' cum_seq_q, cum_seq_k, max_q, max_k.

    max_q is at least 2: told that all are of 1 query, the forward takes a path for decoding that
    folds the query heads and is wrong where a sequence has none. It only sizes the launch.
    """
    return queries.bounds, keys.bounds, max(queries.longest, 2), keys.longest


ATEN = Flash(_aten_forward, _aten_backward)
