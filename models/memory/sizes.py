"""The sizes of a model that its memory depends on, from config.json alone.

Letters: D hidden size, F width of the MLP, V vocabulary; E and its own F of the vision tower.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.architecture import QwenVL
from models.files import transformers_config
from models.named_model import model_directory


@dataclass(frozen=True)
class Stack:
    """Layers that are alike: the decoder's, or the vision tower's blocks."""

    depth: int
    parameters: int  # of one layer
    largest: int  # elements of its largest matrix
    hidden: int  # D or E
    width: int  # F
    keys: int  # elements of all keys of a token, Hkv d
    heads: int
    head_size: int
    is_gated: bool  # an MLP of three matrices; its norms are RMSNorms

    @property
    def total(self) -> int:
        """Parameters of all layers."""
        return self.depth * self.parameters


@dataclass(frozen=True)
class ModelSizes:
    """Counts of parameters, and the shapes that activations follow from."""

    parameters: int
    vision: int  # of them the tower's
    text: Stack
    tower: Stack
    vocabulary: int  # V
    tied: bool  # whether input and output embedding are one matrix
    pixels: int  # of a patch
    merge: int  # patches that become one visual token
    largest: int  # of the matrices that are no embedding

    @property
    def embedding(self) -> int:
        """V D, of one embedding."""
        return self.vocabulary * self.text.hidden

    @property
    def outside(self) -> int:
        """Parameters in no layer: embeddings, last norm, patch embedding, merger."""
        return self.parameters - self.text.total - self.tower.total


def sizes_of(model: str | Path) -> ModelSizes:
    """Return the sizes of a checkpoint: a directory, a hub id that was fetched, or `tiny`.

    Raises:
        ValueError: there is none, or its config.json is not one of a model that can be trained.
    """
    return sizes_of_config(transformers_config(model_directory(model)))


def sizes_of_config(config: Any) -> ModelSizes:
    """Return the sizes that a transformers config describes."""
    return sizes_of_model(weightless(config))


def weightless(config: Any) -> QwenVL:
    """Return the model's shapes: parameters that have no memory."""
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def sizes_of_model(model: QwenVL) -> ModelSizes:
    """Return the sizes of a model, of which nothing but shapes is read."""
    tower, text = model.model.visual, model.config.text_config
    embedding = model.model.language_model.embed_tokens.weight
    return ModelSizes(
        parameters=_count(model),
        vision=_count(tower),
        text=_stack(
            model.model.language_model.layers,
            hidden=text.hidden_size,
            heads=text.num_attention_heads,
            key_heads=text.num_key_value_heads,
            width=text.intermediate_size,
        ),
        tower=_tower(model),
        vocabulary=len(embedding),
        tied=model.lm_head.weight is embedding,
        pixels=tower.patch_embed.proj.weight[0].numel(),
        merge=tower.spatial_merge_size**2,
        largest=max(
            parameter.numel()
            for parameter in model.model.parameters()
            if parameter is not embedding
        ),
    )


def _tower(model: QwenVL) -> Stack:
    config: Any = model.config.vision_config  # transformers': names differ by family
    blocks = model.model.visual.blocks
    # Qwen2.5-VL's blocks are gated, and its config names the tower's width otherwise.
    gated = hasattr(blocks[0].mlp, "gate_proj")
    hidden = config.hidden_size if gated else config.embed_dim
    width = config.intermediate_size if gated else int(hidden * config.mlp_ratio)
    heads = config.num_heads
    return _stack(blocks, hidden=hidden, heads=heads, key_heads=heads, width=width)


def _stack(layers: Any, *, hidden: int, heads: int, key_heads: int, width: int) -> Stack:
    head_size = hidden // heads
    return Stack(
        depth=len(layers),
        parameters=_count(layers[0]),
        largest=max(parameter.numel() for parameter in layers[0].parameters()),
        hidden=hidden,
        width=width,
        keys=key_heads * head_size,
        heads=heads,
        head_size=head_size,
        is_gated=hasattr(layers[0].mlp, "gate_proj"),
    )


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
