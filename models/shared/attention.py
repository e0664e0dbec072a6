"""Attention over packed groups, registered with transformers so that its own layers call it.

Shapes: N prompts, M completion rows, P prompt tokens, C completion tokens, T packed tokens, H query
heads, Hkv key/value heads, d head size.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from models.shared.folding import fold_heads, unfold_heads
from models.shared.groups import PackedGroups
from models.shared.merged import MergedAttention
from models.shared.varlen import varlen_attention

NAME = "packed_groups"


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    groups: PackedGroups | None = None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Return what each packed token reads: prompts causally, completions after their own prompt.

    Without `groups` this is transformers' SDPA, so a plain call of the model works as ever.

    There is no dropout here, whatever the checkpoint's attention_dropout says: GRPO's ratio
    compares the distribution that was sampled with the one being trained, and two dropout masks
    would make them differ before any weight moves.

    Args:
        query: (1, H, T, d) with rotary positions applied, in value's dtype or wider.
        key: (1, Hkv, T, d); value: the same.

    Returns:
        (1, T, H, d) as transformers' attention functions do, and no weights.
    """
    if groups is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
    # turned in float32 by tables of that dtype: rounded here, once (models/rotary.py)
    query, key = query.to(value.dtype), key.to(value.dtype)
    if groups.given is not None:
        read_own = read_completions(
            groups, query[0], key[0], value[0], *groups.given[module.layer_idx], scaling
        )
        return read_own[None], None
    if groups.segments is not None:
        return _read_packed(groups, query, key, value, scaling), None
    tokens = [groups.num_prompt_tokens, query.shape[2] - groups.num_prompt_tokens]
    # split, not two slices: its backward is one concatenation instead of two zero-padded sums
    query_prompt, query_own = query[0].split(tokens, dim=1)  # (H, tokens, d)
    key_prompt, key_own = key[0].split(tokens, dim=1)  # (Hkv, tokens, d)
    value_prompt, value_own = value[0].split(tokens, dim=1)

    query_prompt = groups.pad_prompts(query_prompt.transpose(0, 1)).transpose(1, 2)  # (N, H, P, d)
    key_prompt = groups.pad_prompts(key_prompt.transpose(0, 1)).transpose(1, 2)  # (N, Hkv, P, d)
    value_prompt = groups.pad_prompts(value_prompt.transpose(0, 1)).transpose(1, 2)
    if groups.recorded is not None:
        groups.recorded.append((key_prompt, value_prompt))
    read = scaled_dot_product_attention(
        query_prompt,
        key_prompt,
        value_prompt,
        is_causal=True,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    read = groups.pack_prompts(read.transpose(1, 2))  # (T_prompts, H, d)
    if groups.completion_length == 0:
        return read[None], None
    read_own = read_completions(
        groups, query_own, key_own, value_own, key_prompt, value_prompt, scaling
    )
    return torch.cat([read, read_own])[None], None


def read_completions(
    groups: PackedGroups,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_prompt: Tensor,
    value_prompt: Tensor,
    scaling: float | None,
) -> Tensor:
    """Return what packed completion tokens read of their prompt and their row, (T_own, H, d).

    Args:
        query: (H, T_own, d); key and value: (Hkv, T_own, d).
        key_prompt, value_prompt: (N, Hkv, P, d).
    """
    query, key, value = (
        groups.pad_completions(own.transpose(0, 1)) for own in (query, key, value)
    )  # (M, C, heads, d)
    if groups.reads_apart:
        read = _read_apart(groups, query, key_prompt, value_prompt, key, value, scaling)
    else:
        read = folded_attention(
            query.transpose(1, 2),  # (M, H, C, d)
            _after_prompt(groups, key_prompt, key),
            _after_prompt(groups, value_prompt, value),
            mask=groups.mask,
            scale=scaling,
        )
    return groups.pack_completions(read.transpose(1, 2))


def _read_packed(
    groups: PackedGroups, query: Tensor, key: Tensor, value: Tensor, scale: float | None
) -> Tensor:
    """Return (1, T, H, d) of the tensors that `packed_attention` gets, by varlen flash."""
    query, key, value = (packed[0].transpose(0, 1) for packed in (query, key, value))
    if groups.recorded is not None:
        groups.recorded.append(
            tuple(
                groups.pad_prompts(packed[: groups.num_prompt_tokens]).transpose(1, 2)
                for packed in (key, value)
            )
        )
    return varlen_attention(query, key, value, groups.segments, groups.flash, scale=scale)[None]


def folded_attention(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None, scale: float | None
) -> Tensor:
    """Return (M, H, C, d): grouped-query attention with the sharing heads as extra query rows.

    H / Hkv query heads read the same keys, so they are folded into the query length and no key is
    copied; SDPA's own grouped mode leaves its fast kernels on CUDA as soon as there is a mask.

    Args:
        query: (M, H, C, d); key and value: (M, Hkv, S, d).
        mask: additive, broadcasts to (M, Hkv, C * H / Hkv, S); None reads everything. Its rows are
            heads then tokens, as `models.shared.groups` lays them out.
    """
    folded = fold_heads(query, key.shape[1])  # (M, Hkv, H / Hkv * C, d)
    read = scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scale)
    return unfold_heads(read, query.shape[2])


def _read_apart(
    groups: PackedGroups,
    query: Tensor,
    key_prompt: Tensor,
    value_prompt: Tensor,
    key_own: Tensor,
    value_own: Tensor,
    scale: float | None,
) -> Tensor:
    """Return (M, H, C, d) without a copy of any prompt.

    Args:
        query, key_own, value_own: (M, C, heads, d).
        key_prompt, value_prompt: (N, Hkv, P, d).
    """
    length, head_size = query.shape[1], query.shape[3]
    folded = fold_heads(query.transpose(1, 2), key_own.shape[2])
    read = MergedAttention.apply(
        folded,  # (M, Hkv, H / Hkv * C, d)
        *(key_prompt, value_prompt, key_own.transpose(1, 2), value_own.transpose(1, 2)),
        *(groups.prompt_padding_mask, groups.own_mask),
        head_size**-0.5 if scale is None else scale,
    )
    return unfold_heads(read, length)


def _after_prompt(groups: PackedGroups, prompt: Tensor, own: Tensor) -> Tensor:
    """Return (M, Hkv, P + C, d): each row's prompt entries, then its own (M, C, Hkv, d)."""
    repeated = groups.repeat_prompts(prompt.transpose(1, 2))  # (M, P, Hkv, d)
    return torch.cat([repeated, own], dim=1).transpose(1, 2)


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)  # for plain calls, which build their own masks
