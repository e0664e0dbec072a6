"""Packed groups read on a CPU without a copy of any prompt, its part and the row's own merged.

The mathematics, forward and backward, is that of models/shared/lse.py. The prompt's part has no
causal mask, so all completions of a prompt and all query heads that share a key head become one
long query.

Shapes: N prompts, G completions each, M = N * G rows, C completion tokens, P prompt tokens, H query
heads, Hkv key/value heads, r = H / Hkv, d head size.
"""

from typing import Any

import torch
from torch import Tensor

from models.shared.folding import fold_heads, fold_rows, unfold_heads, unfold_rows
from models.shared.groups import PackedGroups
from models.shared.lse import merge
from models.shared.padded import KeysValues, PaddedReader

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class MergingReader(PaddedReader):
    """Reads prompt and own tokens apart; for groups of one size."""

    def __init__(self, groups: PackedGroups, heads_per_key: int) -> None:
        """Make the causal mask of the own part, r = ``heads_per_key`` times: (r * C, C)."""
        super().__init__(groups)
        length, device = groups.completion_length, groups.device
        # One mask for all rows: the padding after a shorter one is later than its real tokens.
        hidden = torch.ones(length, length, dtype=torch.bool, device=device).triu(1)
        mask = torch.zeros(hidden.shape, dtype=groups.dtype, device=device)  # (C, C)
        self.own_mask = mask.masked_fill_(hidden, -torch.inf).repeat(heads_per_key, 1)

    @staticmethod
    def is_faster(groups: PackedGroups) -> bool:
        """Return whether it takes these groups, and in less time than copies of their prompts do.

        On a CPU from P = 4 C on (forward and backward, 2 threads, 2 prompts of 16 rows, 4 heads of
        64: P 1,024 and C 32 29 against 64 ms; P 64 and C 32 5.3 against 4.6). On CUDA
        models/shared/varlen.py copies nothing in any shape, in half precision.
        """
        rows = groups.rows_per_prompt
        shared = min(rows) == max(rows) > 1
        long = groups.prompt_length >= 4 * groups.completion_length > 0
        return groups.device.type == "cpu" and shared and long

    def _read_rows(
        self, query: Tensor, key: Tensor, value: Tensor, prompts: KeysValues, scale: float
    ) -> Tensor:
        # One flash call takes as many query heads as key heads.
        folded = fold_heads(query, key.shape[1])  # (M, Hkv, r * C, d)
        masks = self.groups.prompt_padding_mask, self.own_mask
        read = MergedAttention.apply(folded, *prompts, key, value, *masks, scale)
        return unfold_heads(read, query.shape[2])


class MergedAttention(torch.autograd.Function):
    """Completions' attention in two parts with one gradient; `MergingReader` applies it."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key_prompt: Tensor,
        value_prompt: Tensor,
        key_own: Tensor,
        value_own: Tensor,
        prompt_mask: Tensor | None,
        own_mask: Tensor,
        scale: float,
    ) -> Tensor:
        """Return (M, Hkv, r * C, d).

        Args:
            query: (M, Hkv, r * C, d), the heads that share a key as extra rows.
            key_prompt, value_prompt: (N, Hkv, P, d).
            key_own, value_own: (M, Hkv, C, d).
            prompt_mask: (N, 1, 1, P), additive; hides the padding after shorter prompts.
            own_mask: (r * C, C), additive and causal.
            scale: of the scores.
        """
        prompts, length = len(key_prompt), query.shape[2]  # N, r * C
        # The prompt by all of its rows at once, each row's own tokens by themselves.
        folded = fold_rows(query, prompts)  # (N, Hkv, G * r * C, d)
        read_prompt, lse_prompt = _flash(
            folded, key_prompt, value_prompt, attn_mask=prompt_mask, scale=scale
        )
        read_own, lse_own = _flash(query, key_own, value_own, attn_mask=own_mask, scale=scale)
        read_prompt = unfold_rows(read_prompt, length)  # (M, Hkv, r * C, d)
        lse_prompt = unfold_rows(lse_prompt[..., None], length)  # (M, Hkv, r * C, 1)
        read, lse = merge(read_prompt, lse_prompt, read_own, lse_own[..., None])
        # Not each part's own read and lse: the backward is that of the whole softmax.
        ctx.save_for_backward(
            query, key_prompt, value_prompt, key_own, value_own, prompt_mask, own_mask, read, lse
        )
        ctx.scale = scale
        return read

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of query and both keys and values, None for masks and scale."""
        query, key_prompt, value_prompt, key_own, value_own, *rest = ctx.saved_tensors
        prompt_mask, own_mask, read, lse = rest
        prompts = len(key_prompt)  # N
        # Both parts get the merged read and lse, so each returns its share of one softmax. 0.0 and
        # False: no dropout, and causality stands in the masks.
        grad_folded, grad_key, grad_value = _flash_backward(
            fold_rows(grad, prompts),
            fold_rows(query, prompts),
            *(key_prompt, value_prompt),
            fold_rows(read, prompts),
            _lse_layout(fold_rows(lse, prompts)),
            *(0.0, False),
            attn_mask=prompt_mask,
            scale=ctx.scale,
        )  # (N, Hkv, G * r * C, d), (N, Hkv, P, d) twice
        grad_query, grad_key_own, grad_value_own = _flash_backward(
            *(grad.contiguous(), query, key_own, value_own, read, _lse_layout(lse)),
            *(0.0, False),
            attn_mask=own_mask,
            scale=ctx.scale,
        )  # (M, Hkv, r * C, d), (M, Hkv, C, d) twice
        # A query went into both parts; each key and value into one.
        grad_query = grad_query + unfold_rows(grad_folded, query.shape[2])
        return grad_query, grad_key, grad_value, grad_key_own, grad_value_own, None, None, None


def _lse_layout(lse: Tensor) -> Tensor:
    """Return (B, H, L) of (B, H, L, 1) in the memory order that the flash forward gives."""
    # the backward walks it by that order, whatever its strides are
    return lse[..., 0].transpose(1, 2).contiguous().transpose(1, 2)
