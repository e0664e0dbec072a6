"""One token of every row through the decoder: the one layer that eager and graphed decoding run.

    norm -> query, key, value -> rotary positions -> attention -> output -> norm -> MLP

Attention is not here: a `Context` gives query and key their rotary position, puts key and value
into the cache, and returns what the query reads. Only in that do the two ways of decoding differ,
and they must: eager decoding asks the host which slots are in use and reads those alone, by the
kernels that suit the sizes of the moment (models/decode/prompt_readers.py); a graph sees no value
of the host, so it reads whole buckets under a mask, in as few kernels as can be
(models/decode/graphed_step.py).

Few calls, since each costs its launch, on a CPU too: query, key and value are one product with
weights laid side by side (`FusedWeights`); in float32 the products before add to the residual
stream themselves. In half precision norms and residuals are rounded where the layers of the update
round them, because the log-probabilities of both are compared (docs/precision.md).

Shapes: B rows, D hidden size, F width of the MLP, H query heads, Hkv key/value heads, r = H / Hkv,
d head size, L layers.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear, rms_norm

from models.architecture import Decoder, DecoderLayer, Norm, SelfAttention
from models.products import HALF_DTYPES, add_product


class Context(Protocol):
    """How attention is computed for one token of every row: its position, its cache."""

    def rotate(self, heads: Tensor) -> Tensor:
        """Return the heads, (B, H + Hkv, d), with the rotary position of their row's token."""
        ...

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Put the token's key and value into the cache; return what its query reads.

        That is the attention output, (B, Hkv, r, d), or with the first two dimensions as one.

        Args:
            layer: whose keys and values.
            query: (B, Hkv, r, d), the heads that share a key as its rows.
            key, value: (B, Hkv, 1, d).
            scale: of the scores.
        """
        ...


class FusedLayer(NamedTuple):
    """Weights of one layer, made so that a token needs fewer calls."""

    projection: Tensor  # ((H + 2 Hkv) d, D), see `FusedWeights`
    bias: Tensor | None  # ((H + 2 Hkv) d,)
    gates: Tensor | None  # (2 F, D), the MLP's gate above its up projection; None: as they are


class FusedWeights:
    """Copies of a decoder's weights, laid out for decoding, at addresses that stay.

    Rows of a projection: per key head its r query heads and itself, then all value heads. So the
    queries that share a key lie side by side and are the rows of one query without a copy, and one
    call turns queries and keys. They cost L * (H + 2 Hkv) * d * D elements beside the model.

    Where norms are folded, a norm's weight is a factor of the columns of the product after it, and
    gate and up are one product. Not on a GPU, where the gates' copies would cost 1.5 GB beside a 2B
    model in training, nor in half precision, where a norm is rounded before its weight.
    """

    def __init__(self, text: Decoder, *, fold_norms: bool) -> None:
        """Allocate them; `refresh` fills them."""
        self.layers = [_empty(layer, fold_norms) for layer in text.layers]
        self.norm_floor = norm_floor(text.norm) if fold_norms else None  # see `normed`

    @torch.no_grad()
    def refresh(self, text: Decoder) -> None:
        """Write the decoder's weights as they are now into this layout, norms folded if asked."""
        for layer, fused in zip(text.layers, self.layers, strict=True):
            attention, mlp = layer.self_attn, layer.mlp
            parts = (attention.q_proj, attention.k_proj, attention.v_proj)
            # Written in place, since graphs hold these addresses.
            _interleave(attention, fused.projection, [part.weight for part in parts])
            if fused.bias is not None:
                _interleave(attention, fused.bias, [part.bias for part in parts])
            if fused.gates is not None:
                torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight], out=fused.gates)
                fold_norm(fused.projection, layer.input_layernorm)
                fold_norm(fused.gates, layer.post_attention_layernorm)


def can_fold_norms(text: Decoder) -> bool:
    """Return whether `FusedWeights` may fold this decoder's norms: on a CPU in float32."""
    weight = text.norm.weight
    return weight.device.type == "cpu" and weight.dtype == torch.float32


def next_hidden(
    text: Decoder, weights: FusedWeights, token_ids: Tensor, context: Context
) -> Tensor:
    """Return (B, D) after one token of every row, (B,) int64, and the final norm."""
    hidden = text.embed_tokens(token_ids)  # (B, D), our own: added to in place
    for index, layer in enumerate(text.layers):
        _add_layer(hidden, layer, index, weights, context)
    return normed(text.norm, hidden)


def _add_layer(
    hidden: Tensor, layer: DecoderLayer, index: int, weights: FusedWeights, context: Context
) -> None:
    """Add what the layer computes to the residual stream, (B, D), in place."""
    attention, mlp = layer.self_attn, layer.mlp
    fused, floor = weights.layers[index], weights.norm_floor
    kv_heads = attention.num_key_value_heads

    # Values have no rotary position, so they lie last: what has one is one slice.
    before = normed(layer.input_layernorm, hidden, floor)  # (B, D)
    projected = linear(before, fused.projection, fused.bias)  # (B, (H + 2 Hkv) d)
    projected = projected.unflatten(1, (-1, attention.head_dim))  # (B, H + 2 Hkv, d)
    rotated = context.rotate(projected[:, :-kv_heads])  # (B, H + Hkv, d)
    rotated = rotated.unflatten(1, (kv_heads, -1))  # (B, Hkv, r + 1, d)
    # Views: a query's rows are the heads that share its key, so nothing is copied to read it.
    query, key = rotated[:, :, :-1], rotated[:, :, -1:]  # (B, Hkv, r, d), (B, Hkv, 1, d)
    value = projected[:, -kv_heads:, None]  # (B, Hkv, 1, d)
    read = context.attend(index, query, key, value, attention.scaling)
    add_product(hidden, read.reshape(len(hidden), -1), attention.o_proj.weight)

    # Gate and up are two products where their fused copy would cost more than a call.
    after = normed(layer.post_attention_layernorm, hidden, floor)  # (B, D)
    if fused.gates is None:
        gate, up = mlp.gate_proj(after), mlp.up_proj(after)  # (B, F) each
    else:
        gate, up = linear(after, fused.gates).chunk(2, dim=1)
    add_product(hidden, mlp.act_fn(gate).mul_(up), mlp.down_proj.weight)


def normed(norm: Norm, hidden: Tensor, floor: Tensor | None = None) -> Tensor:
    """Return what an RMSNorm computes of (B, D); with a floor, without its weight and over sqrt(D).

        x w / sqrt(mean(x^2) + eps) = x / sqrt(|x|^2 + D eps) * (sqrt(D) w)

    Half precision is rounded before the weight and after it, as by the module itself.
    """
    shape, epsilon = norm.weight.shape, norm.variance_epsilon
    if floor is not None:  # three calls, and the weight is in the product that follows
        return hidden / torch.linalg.vector_norm(hidden, dim=1, keepdim=True).hypot(floor)
    if hidden.dtype in HALF_DTYPES:
        # Given the weight, torch would multiply before it rounds.
        return rms_norm(hidden, shape, None, epsilon).mul_(norm.weight)
    return rms_norm(hidden, shape, norm.weight, epsilon)


def fold_norm(weight: Tensor, norm: Norm) -> None:
    """Make the weight, (out, D), take what `normed` returns with a floor, in place."""
    weight.mul_(norm.weight * len(norm.weight) ** 0.5)


def norm_floor(norm: Norm) -> Tensor:
    """Return sqrt(D eps), the least length that an RMSNorm divides by, times sqrt(D)."""
    return norm.weight.new_tensor((len(norm.weight) * norm.variance_epsilon) ** 0.5)


def _empty(layer: DecoderLayer, fold_norms: bool) -> FusedLayer:
    """Return a layer's fused weights, allocated and not yet written."""
    attention, gate = layer.self_attn, layer.mlp.gate_proj
    weight, bias = attention.q_proj.weight, attention.q_proj.bias
    heads = attention.q_proj.out_features + 2 * attention.k_proj.out_features  # (H + 2 Hkv) d
    return FusedLayer(
        projection=weight.new_empty(heads, weight.shape[1]),
        bias=None if bias is None else bias.new_empty(heads),
        gates=gate.weight.new_empty(2 * gate.out_features, weight.shape[1]) if fold_norms else None,
    )


def _interleave(attention: SelfAttention, fused: Tensor, parts: list[Tensor]) -> None:
    """Write the parts, ((heads) d, ..) of query, key and value, as `FusedWeights` lays them out."""
    kv_heads, size = attention.num_key_value_heads, attention.head_dim
    query, key, value = (part.unflatten(0, (kv_heads, -1, size)) for part in parts)
    # Views that give the heads of one key a dimension of their own.
    rotated = fused[: -kv_heads * size].unflatten(0, (kv_heads, -1, size))  # (Hkv, r + 1, d, ..)
    rotated[:, :-1].copy_(query)
    rotated[:, -1:].copy_(key)
    fused[-kv_heads * size :].unflatten(0, (kv_heads, 1, size)).copy_(value)
