"""Attention over a shared prompt and own tokens on a CPU, with gradient, merged by log-sum-exp.

A completion reads its prompt and what it wrote itself. Attention over both is the mean of the two
parts, weighted by their shares of the softmax's sum:

    read = sum_i exp(lse_i - lse) read_i        lse = log sum_i exp(lse_i)

The prompt's part has no causal mask, so all completions of a prompt and all query heads that share
a key head become one long query: no key is copied. Its own gradient is left to nobody else: run by
autograd, the merge would lose the part of the gradient that goes through each lse. The flash
backward of a part is right as it stands when it is given the merged read and lse, since it only
needs p = exp(score - lse) and sum(grad * read).

Shapes: N prompts, G completions each, M = N * G rows, C completion tokens, P prompt tokens, H query
heads, Hkv key/value heads, r = H / Hkv, d head size.
"""

from typing import Any

import torch
from torch import Tensor

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
        folded = _fold(query, prompts)  # (N, Hkv, G * r * C, d)
        read_prompt, lse_prompt = _flash(
            folded, key_prompt, value_prompt, attn_mask=prompt_mask, scale=scale
        )
        read_own, lse_own = _flash(query, key_own, value_own, attn_mask=own_mask, scale=scale)
        lse_prompt = _unfold(lse_prompt[..., None], len(query))  # (M, Hkv, r * C, 1)
        lse_own = lse_own[..., None]
        lse = torch.logaddexp(lse_prompt, lse_own)
        read = _unfold(read_prompt, len(query)) * (lse_prompt - lse).exp()
        read = torch.addcmul(read, read_own, (lse_own - lse).exp()).to(query.dtype)
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
            _fold(grad, prompts),
            _fold(query, prompts),
            *(key_prompt, value_prompt),
            _fold(read, prompts),
            _lse_layout(_fold(lse, prompts)),
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
        grad_query = grad_query + _unfold(grad_folded, len(query))
        return grad_query, grad_key, grad_value, grad_key_own, grad_value_own, None, None, None


def _fold(rows: Tensor, prompts: int) -> Tensor:
    """Return (N, Hkv, G * L, d) of (M, Hkv, L, d): a prompt's rows behind one another."""
    return rows.unflatten(0, (prompts, -1)).transpose(1, 2).flatten(2, 3)


def _unfold(folded: Tensor, rows: int) -> Tensor:
    """Return (M, Hkv, L, d) of (N, Hkv, G * L, d): the inverse of `_fold`."""
    return folded.unflatten(2, (rows // len(folded), -1)).transpose(1, 2).flatten(0, 1)


def _lse_layout(lse: Tensor) -> Tensor:
    """Return (B, H, L) of (B, H, L, 1) in the memory order that the flash forward gives."""
    return lse[..., 0].transpose(1, 2).contiguous().transpose(1, 2)
