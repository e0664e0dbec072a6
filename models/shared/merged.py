"""Attention over a shared prompt and own tokens on a CPU, with gradient, merged by log-sum-exp.

The mathematics, forward and backward, is that of models/shared/lse.py. The prompt's part has no
causal mask, so all completions of a prompt and all query heads that share a key head become one
long query.

Shapes: N prompts, G completions each, M = N * G rows, C completion tokens, P prompt tokens, H query
heads, Hkv key/value heads, r = H / Hkv, d head size.
"""

from typing import Any

import torch
from torch import Tensor

from models.shared.folding import fold_rows, unfold_rows
from models.shared.lse import merge

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class MergedAttention(torch.autograd.Function):
    """See the head of the file. `apply` takes what `forward` takes after ctx."""

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
            prompt_mask: (N, 1, 1, P), additive; hides the padding behind shorter prompts.
            own_mask: (r * C, C), additive and causal.
            scale: of the scores.
        """
        prompts = len(key_prompt)
        length = query.shape[2]  # r * C
        folded = fold_rows(query, prompts)  # (N, Hkv, G * r * C, d)
        read_prompt, lse_prompt = _flash(
            folded, key_prompt, value_prompt, attn_mask=prompt_mask, scale=scale
        )
        read_own, lse_own = _flash(query, key_own, value_own, attn_mask=own_mask, scale=scale)
        read_prompt = unfold_rows(read_prompt, length)  # (M, Hkv, r * C, d)
        lse_prompt = unfold_rows(lse_prompt[..., None], length)  # (M, Hkv, r * C, 1)
        read, lse = merge(read_prompt, lse_prompt, read_own, lse_own[..., None])
        ctx.save_for_backward(
            query, key_prompt, value_prompt, key_own, value_own, prompt_mask, own_mask, read, lse
        )
        ctx.scale = scale
        return read

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the five tensors."""
        query, key_prompt, value_prompt, key_own, value_own, *rest = ctx.saved_tensors
        prompt_mask, own_mask, read, lse = rest
        prompts = len(key_prompt)
        grad_folded, grad_key, grad_value = _flash_backward(
            fold_rows(grad, prompts),
            fold_rows(query, prompts),
            *(key_prompt, value_prompt),
            fold_rows(read, prompts),
            _lse_layout(fold_rows(lse, prompts)),
            *(0.0, False),
            attn_mask=prompt_mask,
            scale=ctx.scale,
        )
        grad_query, grad_key_own, grad_value_own = _flash_backward(
            *(grad.contiguous(), query, key_own, value_own, read, _lse_layout(lse)),
            *(0.0, False),
            attn_mask=own_mask,
            scale=ctx.scale,
        )
        grad_query = grad_query + unfold_rows(grad_folded, query.shape[2])
        return grad_query, grad_key, grad_value, grad_key_own, grad_value_own, None, None, None


def _lse_layout(lse: Tensor) -> Tensor:
    """Return (B, H, L) of (B, H, L, 1) in the memory order that the flash forward gives."""
    return lse[..., 0].transpose(1, 2).contiguous().transpose(1, 2)
