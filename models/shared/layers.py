"""The decoder's layers over packed groups, the last one only where somebody reads it.

What the last layer makes of a prompt token is read for its last token alone: that predicts each
row's first token. Of the others, completions need keys and values. So queries, attention, output
projection and MLP of the last layer run for N + T_own tokens instead of T; forward and gradient are
the same, since what is left out has no influence on anything.

Shapes: N prompts, T packed tokens, T_own of them completions', K tokens that are read, D hidden
size, H query heads, Hkv key/value heads, d head size.
"""

from functools import partial

import torch
from torch import Tensor, nn
from transformers.models.qwen2_vl.modeling_qwen2_vl import rotate_half

from models.shared.attention import folded_attention, read_completions
from models.shared.groups import PackedGroups

Rotary = tuple[Tensor, Tensor]  # cos and sin of the packed tokens, (1, T, d) each, float32


def run_layers(
    text: nn.Module, hidden: Tensor, rotary: Rotary, groups: PackedGroups, *, whole: bool
) -> tuple[Tensor, Tensor]:
    """Return what follows each prompt's last token, (N, D), and each completion token, (T_own, D).

    Before the final norm. The first is empty where the prompts were run before (`groups.given`).

    Args:
        text: layers of it are called as they are, but for the last.
        hidden: (T, D), the layers' input.
        whole: call the last one as it is too. So does varlen flash, which reads prompts and
            completions together, and what has no prompts to leave out.
    """
    hidden = hidden[None]
    *layers, last = text.layers
    for layer in layers:
        hidden = layer(hidden, attention_mask=None, position_embeddings=rotary, groups=groups)
    if whole or groups.segments is not None or groups.given is not None:
        hidden = last(hidden, attention_mask=None, position_embeddings=rotary, groups=groups)[0]
        if groups.given is not None:
            return hidden[:0], hidden
        return hidden[groups.last_tokens], hidden[groups.num_prompt_tokens :]
    run = partial(_last_layer, last, rotary=rotary, groups=groups)
    if last.gradient_checkpointing and last.training:  # as transformers' layers do by themselves
        run = partial(last._gradient_checkpointing_func, run)
    return run(hidden[0]).split(
        [len(groups.last_tokens), len(hidden[0]) - groups.num_prompt_tokens]
    )


def _last_layer(
    layer: nn.Module, hidden: Tensor, *, rotary: Rotary, groups: PackedGroups
) -> Tensor:
    """Return (K, D): each prompt's last token, then all completion tokens."""
    attention = layer.self_attn
    cos, sin = (table[0][:, None] for table in rotary)  # (T, 1, d)
    normed = layer.input_layernorm(hidden)
    key = _rotated(_heads(attention, attention.k_proj(normed)), cos, sin)  # (T, Hkv, d)
    value = _heads(attention, attention.v_proj(normed))
    query = _heads(attention, attention.q_proj(groups.read_tokens(normed)))  # (K, H, d)
    query = _rotated(query, groups.read_tokens(cos), groups.read_tokens(sin))

    tokens = [groups.num_prompt_tokens, len(hidden) - groups.num_prompt_tokens]
    (key_prompt, key_own), (value_prompt, value_own) = (x.split(tokens) for x in (key, value))
    key_prompt = groups.pad_prompts(key_prompt).transpose(1, 2)  # (N, Hkv, P, d)
    value_prompt = groups.pad_prompts(value_prompt).transpose(1, 2)
    if groups.recorded is not None:
        groups.recorded.append((key_prompt, value_prompt))
    query_end, query_own = query.split([len(groups.last_tokens), tokens[1]])
    read = folded_attention(
        query_end[:, :, None],  # one token per prompt, which may read all of it
        *(key_prompt, value_prompt),
        mask=groups.prompt_padding_mask,
        scale=attention.scaling,
    ).flatten(1)  # (N, H * d)
    if tokens[1]:
        own = (x.transpose(0, 1) for x in (query_own, key_own, value_own))  # (heads, T_own, d)
        read_own = read_completions(groups, *own, key_prompt, value_prompt, attention.scaling)
        read = torch.cat([read, read_own.flatten(1)])
    hidden = groups.read_tokens(hidden) + attention.o_proj(read)
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))


def _heads(attention: nn.Module, projected: Tensor) -> Tensor:
    return projected.unflatten(1, (-1, attention.head_dim))


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return (x * cos + rotate_half(x) * sin).to(x.dtype)
