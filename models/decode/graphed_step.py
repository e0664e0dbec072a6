"""One decode step of fixed shapes that asks the host for nothing: what a CUDA graph records.

Every kernel costs its launch, even in a graph, so there are few of them: 22 per layer in float32,
27 in half precision, counted by tests/models/decode/test_graphed_step.py as the operations that are
no views. The rotary turn of queries and keys is one product with a (d, d) matrix per row; scores
over the prompt land beside those over own tokens by `out=`; in float32 residuals are added by the
products before.

The five kernels more keep scores in float32, and round norms and residuals where the layers of the
update round them: the log-probabilities of both are compared. All of it: docs/precision.md.

Shapes: R rows, D hidden size, H query heads, Hkv key/value heads, r = H / Hkv, d head size, S own
slots, P prompt slots, N prompts, G cells per prompt.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm

from models.decode.buffers import Views
from models.products import HALF_DTYPES, add_product, float_product


class FusedProjections:
    """Query, key and value weights of each layer as one, at addresses that stay.

    Rows of the weight: per key head its r query heads and itself, then all value heads. So the
    queries that share a key lie side by side, and a product takes them without a copy. They cost
    L * (H + 2 Hkv) * d * D elements beside the model.
    """

    def __init__(self, text: nn.Module) -> None:
        self.layers: list[tuple[Tensor, Tensor | None]] = []
        for layer in text.layers:
            parts = _parts(layer.self_attn)
            weight, bias = parts[0].weight, parts[0].bias
            rows = sum(part.out_features for part in parts)
            fused = None if bias is None else bias.new_empty(rows)
            self.layers.append((weight.new_empty(rows, weight.shape[1]), fused))

    @torch.no_grad()
    def refresh(self, text: nn.Module) -> None:
        """Copy the weights as they are now."""
        for layer, (weight, bias) in zip(text.layers, self.layers, strict=True):
            attention, parts = layer.self_attn, _parts(layer.self_attn)
            _interleave(attention, weight, [part.weight for part in parts])
            if bias is not None:
                _interleave(attention, bias, [part.bias for part in parts])


def _parts(attention: nn.Module) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    return attention.q_proj, attention.k_proj, attention.v_proj


def _interleave(attention: nn.Module, fused: Tensor, parts: list[Tensor]) -> None:
    kv_heads, size = attention.num_key_value_heads, attention.head_dim
    query, key, value = (part.unflatten(0, (kv_heads, -1, size)) for part in parts)
    turned = fused[: -kv_heads * size].unflatten(0, (kv_heads, -1, size))  # (Hkv, r + 1, d, ..)
    turned[:, :-1].copy_(query)
    turned[:, -1:].copy_(key)
    fused[-kv_heads * size :].unflatten(0, (kv_heads, 1, size)).copy_(value)


def step(text: nn.Module, projections: FusedProjections, views: Views) -> None:
    """Put the tokens' keys and values into slot ``views.slot``; write ``views.hidden``, (R, D).

    Running it again with the same slot and tokens changes nothing.
    """
    rotation, mask = _rotation(views), _mask(views)
    hidden = text.embed_tokens(views.token_ids)  # (R, D), our own: added to in place
    for index, layer in enumerate(text.layers):
        attention, mlp = layer.self_attn, layer.mlp
        kv_heads = attention.num_key_value_heads
        projected = linear(_normed(layer.input_layernorm, hidden), *projections.layers[index])
        projected = projected.unflatten(1, (-1, attention.head_dim))  # (R, H + 2 Hkv, d)
        turned = torch.bmm(projected[:, :-kv_heads], rotation)
        turned = turned.unflatten(1, (kv_heads, -1))  # (R, Hkv, r + 1, d)
        keys, values = views.own[index]  # (R, Hkv, S, d)
        keys.index_copy_(2, views.slot, turned[:, :, -1:])
        values.index_copy_(2, views.slot, projected[:, -kv_heads:, None])
        query = turned.flatten(0, 1)[:, :-1]  # (R * Hkv, r, d)
        read = _read(views, index, query, mask, attention.scaling)
        add_product(hidden, read.view(len(hidden), -1), attention.o_proj.weight)
        normed = _normed(layer.post_attention_layernorm, hidden)
        activated = mlp.act_fn(mlp.gate_proj(normed)).mul_(mlp.up_proj(normed))
        add_product(hidden, activated, mlp.down_proj.weight)
    views.hidden.copy_(_normed(text.norm, hidden))


def _read(views: Views, layer: int, query: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Return (R * Hkv, r, d): one softmax over the row's prompt and its own tokens.

    Scores, mask, scale and softmax are float32 whatever the weights are; only the softmax's result
    is rounded to the values' dtype. Unwritten slots hold zeros, which a weight of 0 leaves 0; a NaN
    would not be hidden by any mask.
    """
    rows, slots, _, prompt_slots, _ = views.bucket
    prompt_keys, prompt_values = views.prompts[layer].flatten(1, 2)  # (N * Hkv, P, d)
    keys, values = views.own[layer].flatten(1, 2)  # (R * Hkv, S, d)
    per_key = query.shape[1]  # r

    folded = query.index_select(0, views.cell_rows)  # (N * Hkv * G, r, d)
    of_prompt = float_product(_per_prompt(folded, prompt_keys), prompt_keys.transpose(1, 2))
    scores = of_prompt.new_empty(len(query), per_key, prompt_slots + slots)
    of_prompt = of_prompt.view(-1, per_key, prompt_slots)
    torch.index_select(of_prompt, 0, views.row_cells, out=scores[:, :, :prompt_slots])
    float_product(query, keys.transpose(1, 2), out=scores[:, :, prompt_slots:])
    masked = torch.add(mask, scores.view(rows, -1, scores.shape[2]), alpha=scale)
    weights = masked.softmax(dim=2).view_as(scores).to(values.dtype)

    folded = weights[:, :, :prompt_slots].index_select(0, views.cell_rows)
    read = torch.bmm(_per_prompt(folded, prompt_keys), prompt_values).view(-1, *query.shape[1:])
    read = read.index_select(0, views.row_cells)
    return read.baddbmm_(weights[:, :, prompt_slots:], values)


def _per_prompt(cells: Tensor, prompts: Tensor) -> Tensor:
    """Return (N * Hkv, G * r, ...) of (N * Hkv * G, r, ...)."""
    return cells.view(len(prompts), -1, cells.shape[2])


def _rotation(views: Views) -> Tensor:
    """Return the matrix of each row's position, (R, d, d): x @ it = x cos + swap_halves(x) sin."""
    cos = views.cos.index_select(1, views.slot)  # (R, 1, d)
    sin = views.sin.index_select(1, views.slot)
    return torch.addcmul(views.diagonal * cos, views.off_diagonal, sin)


def _mask(views: Views) -> Tensor:
    """Return 0 where a row may read and -inf elsewhere, (R, 1, P + S)."""
    hidden = views.slot_numbers > views.slot  # (S,)
    own = torch.zeros_like(hidden, dtype=views.cos.dtype).masked_fill_(hidden, -torch.inf)
    return torch.cat([views.prompt_mask, own.expand(views.bucket.rows, -1)], dim=1)[:, None]


def _normed(norm: nn.Module, hidden: Tensor) -> Tensor:
    """Return what the norm's module computes, with its rounding before the weight and behind it."""
    shape, floor = norm.weight.shape, norm.variance_epsilon
    if hidden.dtype in HALF_DTYPES:
        return rms_norm(hidden, shape, None, floor).mul_(norm.weight)
    return rms_norm(hidden, shape, norm.weight, floor)
