"""What we use of transformers' Qwen2-VL, by name and type, for both of its families.

transformers makes the modules (Qwen2-VL's and Qwen2.5-VL's are different classes of the same
parts), and torch types a module's parts as `Tensor | Module`. These classes say what they are; none
is ever made. A release that renames one of them breaks here, in words.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class TextConfig:
    """Sizes of the decoder."""

    hidden_size: int  # D
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int  # H
    num_key_value_heads: int  # Hkv
    max_position_embeddings: int
    _attn_implementation: str


class Norm(nn.Module):
    """An RMSNorm."""

    weight: nn.Parameter  # (D,)
    variance_epsilon: float


class SelfAttention(nn.Module):
    """Projections and sizes; the attention itself is ours."""

    layer_idx: int
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
    gradient_checkpointing: bool
    _gradient_checkpointing_func: Callable[..., Any]


class Decoder(nn.Module):
    """The language model without its output head: `Policy.text`."""

    config: TextConfig
    embed_tokens: nn.Embedding
    rotary_emb: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    layers: Sequence[DecoderLayer]
    norm: Norm


class VisionConfig:
    """Sizes of the vision tower; the families name its width differently."""

    depth: int
    embed_dim: int  # Qwen2-VL
    mlp_ratio: float
    hidden_size: int  # Qwen2.5-VL; in Qwen2-VL the decoder's
    intermediate_size: int


class VisionAttention(nn.Module):
    """Attention of one vision block."""

    qkv: nn.Linear
    proj: nn.Linear
    num_heads: int
    scaling: float


class VisionBlock(nn.Module):
    """x += attention(norm(x)); x += mlp(norm(x))."""

    attn: VisionAttention
    mlp: nn.Module


class PatchEmbed(nn.Module):
    """A convolution whose kernel covers a patch exactly."""

    proj: nn.Conv3d


class PatchMerger(nn.Module):
    """Makes one visual token of neighbouring patches."""

    mlp: nn.Sequential


class VisionTower(nn.Module):
    """Pixels to visual tokens: `Policy.visual`."""

    patch_embed: PatchEmbed
    blocks: Sequence[VisionBlock]
    merger: PatchMerger
    spatial_merge_size: int


class Body(nn.Module):
    """Vision tower and decoder."""

    visual: VisionTower
    language_model: Decoder


class ModelConfig:
    """config.json."""

    text_config: TextConfig
    vision_config: VisionConfig
    tie_word_embeddings: bool


class QwenVL(nn.Module):
    """The whole model: `Policy.model`."""

    config: ModelConfig
    generation_config: Any
    dtype: torch.dtype
    model: Body
    lm_head: nn.Linear
    save_pretrained: Callable[..., Any]
