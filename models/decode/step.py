"""Decoding token by token against preallocated caches: what a rollout spends its time in.

A step does nothing that does not depend on the token: rotary tables, masks and fused projection
weights are made once in `start`. The attention is written out, around the caches; norms and MLPs
are the layers' own modules, or on a CPU in float32 the same formulas in fewer calls: the norms'
weights are then folded into the projections behind them.

Shapes: N prompts, B rows, P prompt tokens (of the longest), S cache slots, D hidden size, H query
heads, Hkv key/value heads, d head size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention

from models.decode.shared_prompts import SharedPrompts
from models.products import add_product
from models.prompts.prompt import EncodedPrompt
from models.rotary import rotary_tables
from models.shared.groups import PackedGroups


@dataclass
class DecodeState:
    """Caches of B rows: one slot per decoded token, and the prompt in one of two ways.

    Where a prompt has several rows, `shared` holds each prompt once and the caches begin with the
    first decoded token (P = 0 below). Else slots 0 .. P - 1 of the caches hold the row's prompt:
    then there is nothing to share, and one attention costs less than two.

    A padding slot behind a shorter prompt holds a copy of that prompt's last token, hidden by the
    mask. Slots from `filled` on are uninitialized and may be NaN: they are never read, since a mask
    does not hide a NaN (0 * NaN is NaN).
    """

    keys: list[Tensor]  # per layer, (B, Hkv, S, d)
    values: list[Tensor]
    projections: list[tuple[Tensor, Tensor | None]]  # per layer, fused q, k, v: weight and bias
    gates: list[Tensor] | None  # per layer, the MLP's gate and up projections; None: by its modules
    norm_floor: Tensor | None  # where norms' weights are folded, see `_normed`
    cos: Tensor  # (B, S - P, 1, d), of each token to come, at least float32
    sin: Tensor  # the same, its first half negated: see `_rotate`
    mask: Tensor | None  # (B, 1, 1, S), additive; None when prompts are equally long
    prompt_slots: int  # P
    filled: int  # slots in use
    shared: SharedPrompts | None = None

    @property
    def num_rows(self) -> int:
        return len(self.cos)

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, (B',) int64, in this order: the others cost nothing any more."""
        rows = rows.to(self.cos.device)
        if self.shared is not None:
            self.shared.select(rows)
        for caches in (self.keys, self.values):
            for layer, cache in enumerate(caches):
                caches[layer] = _rows_of(cache, rows, self.filled)
        self.cos, self.sin = self.cos[rows], self.sin[rows]
        if self.mask is not None:
            self.mask = self.mask[rows]


def start(
    text: nn.Module, prompts: Sequence[EncodedPrompt], groups: PackedGroups, max_new_tokens: int
) -> DecodeState:
    """Return the state after the prompts that `groups.recorded` holds the keys and values of."""
    shared = _shared_prompts(groups) if max(groups.rows_per_prompt) > 1 else None
    keys, values = [], []
    for key, value in groups.recorded:
        for caches, prompt in ((keys, key), (values, value)):
            held = prompt[:, :, :0] if shared else prompt
            caches.append(_cache(held, groups, max_new_tokens))
    slots = keys[0].shape[2]
    cos, sin = _row_tables(text, prompts, groups, max_new_tokens)
    folds = _folds_norms(text)
    return DecodeState(
        keys=keys,
        values=values,
        projections=[_fused_projection(layer, folds) for layer in text.layers],
        gates=[_fused_gates(layer, folds) for layer in text.layers] if folds else None,
        norm_floor=_norm_floor(text.norm) if folds else None,
        cos=cos,
        sin=sin,
        mask=None if shared else _padding_mask(groups, slots),
        prompt_slots=slots - max_new_tokens,
        filled=slots - max_new_tokens,
        shared=shared,
    )


def step(text: nn.Module, state: DecodeState, token_ids: Tensor) -> Tensor:
    """Return (B, D), after the final norm, and put the tokens' keys and values into the caches."""
    slot = state.filled
    if slot == state.keys[0].shape[2]:
        raise full_error(slot - state.prompt_slots)
    state.filled = slot + 1
    cos = state.cos[:, slot - state.prompt_slots]  # (B, 1, d)
    sin = state.sin[:, slot - state.prompt_slots]
    mask = None if state.mask is None else state.mask[..., : slot + 1]
    hidden = text.embed_tokens(token_ids)  # (B, D), our own: added to in place
    for index, layer in enumerate(text.layers):
        heads, kv_heads = layer.self_attn.num_heads, layer.self_attn.num_key_value_heads
        normed = _normed(layer.input_layernorm, hidden, state.norm_floor)
        projected = linear(normed, *state.projections[index])
        projected = projected.unflatten(1, (heads + 2 * kv_heads, -1))  # (B, heads, d)
        query_key, value = projected.split([heads + kv_heads, kv_heads], dim=1)
        query, key = _rotate(query_key, cos, sin).split([heads, kv_heads], dim=1)
        state.keys[index][:, :, slot] = key
        state.values[index][:, :, slot] = value
        query = query.unflatten(1, (kv_heads, -1))  # heads that share a key are its query rows
        keys = state.keys[index][:, :, : slot + 1]
        values = state.values[index][:, :, : slot + 1]
        scale = layer.self_attn.scaling
        if state.shared is not None:
            read = state.shared.read(index, query, keys, values, scale)
        else:
            read = scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=scale)
        # (B, Hkv, H / Hkv, d)
        add_product(hidden, read.flatten(1), layer.self_attn.o_proj.weight)
        normed = _normed(layer.post_attention_layernorm, hidden, state.norm_floor)
        if state.gates is None:
            hidden += layer.mlp(normed)
            continue
        gate, up = linear(normed, state.gates[index]).chunk(2, dim=1)
        activated = layer.mlp.act_fn(gate).mul_(up)
        add_product(hidden, activated, layer.mlp.down_proj.weight)
    return _normed(text.norm, hidden, None)


def _folds_norms(text: nn.Module) -> bool:
    """Return whether the step runs its norms and MLPs in fewer calls: on a CPU in float32."""
    weight = text.norm.weight
    return weight.device.type == "cpu" and weight.dtype == torch.float32


def _fused_gates(layer: nn.Module, folds: bool) -> Tensor:
    """Return the MLP's gate and up weights as one: a call less per layer and token.

    On a CPU only: on a GPU the copies would cost 1.5 GB beside a 2B model in training.
    """
    fused = torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight])
    return _folded(fused, layer.post_attention_layernorm) if folds else fused


def _fused_projection(layer: nn.Module, folds: bool) -> tuple[Tensor, Tensor | None]:
    """Return one weight and bias for query, key and value: one matrix product instead of three."""
    attention = layer.self_attn
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    fused = torch.cat([part.weight for part in parts])
    bias = None if parts[0].bias is None else torch.cat([part.bias for part in parts])
    return _folded(fused, layer.input_layernorm) if folds else fused, bias


def _folded(weight: Tensor, norm: nn.Module) -> Tensor:
    """Return the weight, (out, D), that takes what `_normed` returns with a floor."""
    return weight.mul_(norm.weight * len(norm.weight) ** 0.5)


def _norm_floor(norm: nn.Module) -> Tensor:
    """Return sqrt(D eps), the least length that an RMSNorm divides by, times sqrt(D)."""
    return norm.weight.new_tensor((len(norm.weight) * norm.variance_epsilon) ** 0.5)


def _normed(norm: nn.Module, hidden: Tensor, floor: Tensor | None) -> Tensor:
    """Return what an RMSNorm module computes; with a floor, without its weight and over sqrt(D).

        x w / sqrt(mean(x^2) + eps) = x / sqrt(|x|^2 + D eps) * (sqrt(D) w)

    In float32 by few calls, else with the module's own rounding.
    """
    if floor is not None:
        return hidden / torch.linalg.vector_norm(hidden, dim=1, keepdim=True).hypot(floor)
    if hidden.dtype == torch.float32:
        return rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)
    return norm(hidden)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return (B, heads, d) turned by its position: x cos + swap_halves(x) sin, sin signed.

    The tables are float32, so half precision is rounded once, at the end, as in the update.
    """
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin).to(x.dtype)


def _cache(prompt: Tensor, groups: PackedGroups, max_new_tokens: int) -> Tensor:
    """Return (B, Hkv, P + max_new_tokens, d) that begins with each row's (Hkv, P, d) prompt."""
    kv_heads, longest, head_size = prompt.shape[1:]
    cache = prompt.new_empty(groups.num_rows, kv_heads, longest + max_new_tokens, head_size)
    cache[:, :, :longest] = groups.repeat_prompts(prompt)
    return cache


def _rows_of(cache: Tensor, rows: Tensor, filled: int) -> Tensor:
    """Return a cache of only these rows, copying only the slots in use."""
    kept = cache.new_empty(len(rows), *cache.shape[1:])
    kept[:, :, :filled] = cache[:, :, :filled].index_select(0, rows)
    return kept


def full_error(tokens: int) -> ValueError:
    """Return the error of one token too many."""
    return ValueError(
        f"the caches are full after {tokens} tokens: prefill with a larger max_new_tokens"
    )


def tables_to_come(
    text: nn.Module, prompts: Sequence[EncodedPrompt], max_new_tokens: int
) -> tuple[Tensor, Tensor]:
    """Return cos and signed sin of the tokens behind each prompt, (N, max_new_tokens, d) each."""
    starts = torch.tensor([prompt.next_position for prompt in prompts])
    positions = (starts[:, None] + torch.arange(max_new_tokens)).expand(3, -1, -1)
    cos, sin = rotary_tables(text, positions)
    half = sin.shape[-1] // 2
    return cos, torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)


def _row_tables(
    text: nn.Module, prompts: Sequence[EncodedPrompt], groups: PackedGroups, max_new_tokens: int
) -> tuple[Tensor, Tensor]:
    """Return the same for each row, (B, max_new_tokens, 1, d)."""
    cos, sin = tables_to_come(text, prompts, max_new_tokens)
    return groups.repeat_prompts(cos)[:, :, None], groups.repeat_prompts(sin)[:, :, None]


def _shared_prompts(groups: PackedGroups) -> SharedPrompts:
    """Return the prompts once each, as the prefill computed them."""
    keys, values = ([entry[i].contiguous() for entry in groups.recorded] for i in range(2))
    return SharedPrompts(keys, values, groups.prompt_padding_mask, groups.row_to_prompt)


def _padding_mask(groups: PackedGroups, slots: int) -> Tensor | None:
    """Return 0 at slots a row may read and -inf at the padding behind its prompt, (B, 1, 1, S)."""
    if groups.padding is None:
        return None
    lengths = torch.tensor(groups.prompt_lengths, device=groups.device)[groups.row_to_prompt]
    slot = torch.arange(slots, device=groups.device)
    padding = (slot >= lengths[:, None]) & (slot < max(groups.prompt_lengths))  # (B, S)
    mask = torch.zeros(padding.shape, dtype=groups.dtype, device=groups.device)
    return mask.masked_fill_(padding, -torch.inf)[:, None, None]
