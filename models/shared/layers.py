"""The decoder's layers over packed groups: whole rows, prompts alone, completions alone.

The last layer runs only where it is read. What it makes of a prompt's token is read for the last
one alone: that predicts each row's first token. Of the others, completions need keys and values. So
queries, attention, output projection and MLP of the last layer run for N + T_c tokens instead of T;
forward and gradient are the same, since what is left out has no influence on anything.

Shapes: N prompts, T packed tokens (T_c of completions), K = N + T_c tokens that are read, D hidden
size, H query heads, Hkv key/value heads, d head size.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from transformers.models.qwen2_vl.modeling_qwen2_vl import rotate_half

from models.architecture import Decoder, DecoderLayer, SelfAttention
from models.shared.attention import Attend, GroupReader
from models.shared.padded import KeysValues, PaddedReader

Rotary = tuple[Tensor, Tensor]  # cos and sin of the packed tokens, (1, T, d) each, float32
Keep = Callable[[KeysValues | None], None]


def run_groups(
    text: Decoder, hidden: Tensor, rotary: Rotary, reader: GroupReader, *, whole: bool
) -> tuple[Tensor, Tensor]:
    """Return the states of each prompt's last token, (N, D), and of the completions', (T_c, D).

    Before the final norm.

    Args:
        text: the decoder.
        hidden: (T, D), the layers' input.
        rotary: of all packed tokens.
        reader: how they attend.
        whole: call the last layer as it is, for every token: a layer that is offloaded or sharded
            has its weights for the time of its own call only.
    """
    return _run(text, hidden, rotary, reader, lambda _: None, whole)


def run_prompts(
    text: Decoder, hidden: Tensor, rotary: Rotary, reader: GroupReader, *, whole: bool
) -> tuple[Tensor, list[KeysValues]]:
    """Return each prompt's last token's state, (N, D), and all prompts' keys and values per layer.

    Before the final norm. The arguments are those of `run_groups`; the reader's groups have
    completions without tokens.
    """
    keys_values: list[KeysValues] = []

    def keep(of_layer: KeysValues | None) -> None:
        assert of_layer is not None  # each reader gives them of prompts alone
        keys_values.append(of_layer)

    ends, _ = _run(text, hidden, rotary, reader, keep, whole)
    return ends, keys_values


def run_completions(
    text: Decoder,
    hidden: Tensor,
    rotary: Rotary,
    reader: PaddedReader,
    keys_values: Sequence[KeysValues],
) -> Tensor:
    """Return the completions' states, (T_c, D), after prompts that were run before.

    Before the final norm.

    Args:
        text: the decoder.
        hidden: (T_c, D), the layers' input.
        rotary: of the completions' tokens.
        reader: how they attend.
        keys_values: what `run_prompts` returned.
    """

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        return reader.read_completions(query, key, value, keys_values[layer], scale)

    return _call(text.layers, hidden, rotary, attend)


def _run(
    text: Decoder,
    hidden: Tensor,
    rotary: Rotary,
    reader: GroupReader,
    keep: Keep,
    whole: bool,
) -> tuple[Tensor, Tensor]:
    """Return each prompt's last token's state, (N, D), and the completions' tokens', (T_c, D).

    `keep` is called in every layer with the prompts' keys and values there, or with None by a
    reader that leaves none.
    """

    def attend(_layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        read, prompts = reader.read(query, key, value, scale)
        keep(prompts)
        return read

    groups = reader.groups
    # Varlen flash reads prompts and completions in one call, which leaves no token out.
    if whole or not isinstance(reader, PaddedReader):
        hidden = _call(text.layers, hidden, rotary, attend)
        return hidden[groups.last_tokens], hidden[groups.num_prompt_tokens :]
    # A padded reader has prompts and completions apart, so the last layer can leave some out.
    *layers, last = text.layers
    hidden = _call(layers, hidden, rotary, attend)
    run = partial(_last_layer, last, rotary=rotary, reader=reader, keep=keep)
    # transformers' layers checkpoint their own calls; this one is not called.
    if last.gradient_checkpointing and last.training:
        run = partial(last._gradient_checkpointing_func, run)
    ends, completions = run(hidden).split(
        [len(groups.prompt_lengths), groups.num_completion_tokens]
    )
    return ends, completions


def _call(layers: Sequence[DecoderLayer], hidden: Tensor, rotary: Rotary, attend: Attend) -> Tensor:
    """Return (T, D) after transformers' layers, called as they are."""
    # transformers' layers take a batch: the packed row is a batch of one.
    hidden = hidden[None]  # (1, T, D)
    for layer in layers:
        hidden = layer(hidden, attention_mask=None, position_embeddings=rotary, attend=attend)
    return hidden[0]


def _last_layer(
    layer: DecoderLayer, hidden: Tensor, *, rotary: Rotary, reader: PaddedReader, keep: Keep
) -> Tensor:
    """Return (K, D): each prompt's last token, then all completion tokens.

    transformers' layer cannot be called for this: it wants as many queries as keys.
    """
    attention, groups = layer.self_attn, reader.groups
    cos, sin = (table[0][:, None] for table in rotary)  # (T, 1, d)

    # Keys and values are needed of every token, queries only of those that are read.
    normed = layer.input_layernorm(hidden)  # (T, D)
    key = _rotated(_heads(attention, attention.k_proj(normed)), cos, sin)  # (T, Hkv, d)
    value = _heads(attention, attention.v_proj(normed))  # (T, Hkv, d)
    query = _heads(attention, attention.q_proj(groups.keep_read(normed)))  # (K, H, d)
    query = _rotated(query, groups.keep_read(cos), groups.keep_read(sin))  # (K, H, d)

    # Completions read prompts as in every layer, and decoding goes on from them.
    (key_prompt, key_own), (value_prompt, value_own) = groups.split(key), groups.split(value)
    prompts = reader.pad_prompts(key_prompt), reader.pad_prompts(value_prompt)  # (N, Hkv, P, d)
    keep(prompts)

    # A prompt's last token may read all of its prompt: one query each, no causal mask.
    query_end, query_own = query.split([len(groups.prompt_lengths), len(key_own)])
    read = reader.read_ends(query_end, prompts, attention.scaling)  # (N, H, d)
    if len(query_own):
        read_own = reader.read_completions(
            query_own, key_own, value_own, prompts, attention.scaling
        )  # (T_c, H, d)
        read = torch.cat([read, read_own])  # (K, H, d)

    # From here on tokens do not meet, so those that nobody reads are left out.
    hidden = groups.keep_read(hidden) + attention.o_proj(read.flatten(1))  # (K, D)
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))


def _heads(attention: SelfAttention, projected: Tensor) -> Tensor:
    """Return (T, heads, d) of (T, heads * d)."""
    return projected.unflatten(1, (-1, attention.head_dim))


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return (T, heads, d) with rotary positions applied as transformers does, rounded once."""
    return (x * cos + rotate_half(x) * sin).to(x.dtype)
