"""The sizes of a model that its costs depend on, read from its config."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TextSizes:
    """The decoder: D, F, L, V, H, Hkv and d of the formulas."""

    width: int  # D
    mlp: int  # F
    layers: int  # L
    vocabulary: int  # V
    heads: int  # H
    kv_heads: int  # Hkv
    tied: bool

    @property
    def head_size(self) -> int:
        """The size d of a head."""
        return self.width // self.heads

    @property
    def kv_width(self) -> int:
        """What keys, or values, of a token have: Hkv d."""
        return self.kv_heads * self.head_size

    @property
    def decode_weights(self) -> int:
        """The weights that a decoded token meets: all layers, the last norm, the output head.

        L (2 D D + 2 D Hkv d + D + 2 Hkv d + 3 D F + 2 D) + D + V D: of the input embedding only
        one row per token is read, and query, key and value have biases.
        """
        D = self.width
        attention = 2 * D * D + 2 * D * self.kv_width + D + 2 * self.kv_width
        return self.layers * (attention + 3 * D * self.mlp + 2 * D) + D + self.vocabulary * D


@dataclass(frozen=True)
class VisionSizes:
    """The vision tower: E, Fv and the rest."""

    width: int  # E
    mlp: int  # Fv
    blocks: int
    gated: bool  # three products in an MLP (Qwen2.5-VL), or two (Qwen2-VL)
    merged: int  # patches that become one visual token
    patch: int  # numbers of a patch
    out: int  # D
    window: int  # patches of a full window, 0 where every block sees the whole image
    full_blocks: int  # blocks that see the whole image


@dataclass(frozen=True)
class Sizes:
    """Of a whole Qwen2-VL or Qwen2.5-VL."""

    text: TextSizes
    vision: VisionSizes


def sizes_of(config: Any) -> Sizes:
    """Return the sizes in transformers' config of a Qwen2-VL or a Qwen2.5-VL."""
    text = config.text_config
    return Sizes(
        TextSizes(
            width=text.hidden_size,
            mlp=text.intermediate_size,
            layers=text.num_hidden_layers,
            vocabulary=text.vocab_size,
            heads=text.num_attention_heads,
            kv_heads=text.num_key_value_heads,
            tied=bool(config.tie_word_embeddings),
        ),
        _vision(config.vision_config, text.hidden_size),
    )


def _vision(config: Any, out: int) -> VisionSizes:
    gated = hasattr(config, "fullatt_block_indexes")
    width = config.hidden_size if gated else config.embed_dim
    sides = config.window_size // config.patch_size if gated else 0
    return VisionSizes(
        width=width,
        mlp=config.intermediate_size if gated else int(width * config.mlp_ratio),
        blocks=config.depth,
        gated=gated,
        merged=config.spatial_merge_size**2,
        patch=config.in_channels * config.temporal_patch_size * config.patch_size**2,
        out=out,
        window=sides**2,
        full_blocks=len(config.fullatt_block_indexes) if gated else config.depth,
    )
