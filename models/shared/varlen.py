"""Packed groups read by varlen flash as they lie: no prompt copied, nothing padded, no mask made.

Three calls of FlashAttention for sequences of different length (varlen, models/shared/flash.py)
read the packed tokens; each gets the bounds of its sequences:

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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.shared.flash import Flash, Segments
from models.shared.groups import PackedGroups
from models.shared.lse import merge
from models.shared.padded import KeysValues


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
        """Return the bounds of the three attentions for prompts and completions so long."""
        # Rows are prompt-major, so those of a prompt lie side by side: one sequence of queries.
        lengths = iter(completion_lengths)
        own = [sum(next(lengths) for _ in range(rows)) for rows in rows_per_prompt]
        return cls(
            Segments.of(prompt_lengths, device),
            Segments.of(own, device),
            Segments.of(completion_lengths, device),
            sum(prompt_lengths),
        )


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
        # One call for prompts and completions: the sum of a prompt's gradients is made inside.
        read = varlen_attention(query, key, value, self.segments, self.flash, scale=scale)
        if self.groups.num_completion_tokens:
            return read, None
        # decoding starts from prompts alone, and wants rectangles
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
    """Attention over a packed row: three calls, one gradient; `varlen_attention` applies it."""

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
        # read (T_p, H, d), lse (H, T_p)
        read, lse_prompt = flash.forward(
            q_prompt, k_prompt, v_prompt, prompts, prompts, causal=True, scale=scale
        )
        lse_own = None
        if rows.longest:
            # A completion reads all of its prompt: no causal mask, and all rows are one sequence.
            of_prompt = flash.forward(
                q_own, k_prompt, v_prompt, groups, prompts, causal=False, scale=scale
            )
            of_own = flash.forward(q_own, k_own, v_own, rows, rows, causal=True, scale=scale)
            read_own, lse_own = _merged(*of_prompt, *of_own)  # (T_c, H, d), (H, T_c)
            read = torch.cat([read, read_own])  # (T, H, d)
        # The parts' own reads and lse are not kept: the backward is that of the whole.
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
        # Each of the three is (grad_query, grad_key, grad_value).
        of_itself = flash.backward(
            *(g_prompt, q_prompt, k_prompt, v_prompt, reads[0], lse_prompt, prompts, prompts),
            causal=True,
            scale=scale,
        )
        if lse_own is None:
            return *of_itself, None, None, None
        # Both parts get the merged read and lse, so each returns its share of one softmax.
        of_prompt = flash.backward(
            *(g_own, q_own, k_prompt, v_prompt, reads[1], lse_own, groups, prompts),
            causal=False,
            scale=scale,
        )
        of_own = flash.backward(
            *(g_own, q_own, k_own, v_own, reads[1], lse_own, rows, rows), causal=True, scale=scale
        )
        # A completion's query went into two parts, a prompt's keys were read by two kinds of token.
        grad_query = torch.cat([of_itself[0], of_prompt[0] + of_own[0]])  # (T, H, d)
        grad_key = torch.cat([of_itself[1] + of_prompt[1], of_own[1]])  # (T, Hkv, d)
        grad_value = torch.cat([of_itself[2] + of_prompt[2], of_own[2]])  # (T, Hkv, d)
        return grad_query, grad_key, grad_value, None, None, None


def _split(packed: Tensor, segments: PackedSegments) -> tuple[Tensor, Tensor]:
    """Return views of the prompts' (T_p, ...) and of the completions' (T_c, ...) tokens."""
    first = segments.num_prompt_tokens
    return packed[:first], packed[first:]


def _merged(read: Tensor, lse: Tensor, other: Tensor, other_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Return read (T_c, H, d) and lse (H, T_c) over both parts; the kernels have heads first."""
    read, lse = merge(read, lse.t()[..., None], other, other_lse.t()[..., None])
    return read, lse[..., 0].t().contiguous()  # as it lies already: the kernels walk it by T_c
