"""What we use of transformers' Qwen2-VL decoder, by name and type, for both of its families.

transformers makes the modules (Qwen2-VL's and Qwen2.5-VL's are different classes of the same
parts), and torch types a module's parts as `Tensor | Module`. These classes say what they are; none
is ever made. A release that renames one of them breaks here, in words.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn


class Norm(nn.Module):
    """An RMSNorm."""

    weight: nn.Parameter  # (D,)
    variance_epsilon: float


class SelfAttention(nn.Module):
    """Projections and sizes; the attention itself is ours."""

    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear
    o_proj: nn.Linear
    num_heads: int
    num_key_value_heads: int
    head_dim: int
    scaling: float


class GatedMLP(nn.Module):
    """down(act(gate(x)) * up(x))."""

    gate_proj: nn.Linear
    up_proj: nn.Linear
    down_proj: nn.Linear
    act_fn: Callable[[Tensor], Tensor]


class DecoderLayer(nn.Module):
    """x += attention(norm(x)); x += mlp(norm(x))."""

    input_layernorm: Norm
    self_attn: SelfAttention
    post_attention_layernorm: Norm
    mlp: GatedMLP


class Decoder(nn.Module):
    """The language model without its output head: `Policy.text`."""

    embed_tokens: nn.Embedding
    rotary_emb: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    layers: Sequence[DecoderLayer]
    norm: Norm
