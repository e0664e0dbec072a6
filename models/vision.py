"""Pixels to image features. The only file that knows how the pixels of several images are joined.

Shapes: N prompts, K image patches, T visual tokens of one prompt, D hidden size.
"""

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from models.prompt import EncodedPrompt


def image_features(visual: nn.Module, prompts: Sequence[EncodedPrompt]) -> list[Tensor]:
    """Return the features of each prompt's images, in order: (T, D) each, T = 0 without images.

    The vision tower runs once over all images of the batch. The patches of one image do not see
    another's: transformers cuts the attention at image boundaries, which it takes from the grid.
    """
    merged = visual.spatial_merge_size**2
    counts = [len(prompt.pixel_values) // merged for prompt in prompts]
    weight = visual.patch_embed.proj.weight
    if sum(counts) == 0:
        hidden_size = visual.merger.mlp[-1].out_features
        return [weight.new_zeros(0, hidden_size) for _ in prompts]
    pixels = torch.cat([prompt.pixel_values for prompt in prompts])  # (K, patch_dim)
    grid = torch.cat([prompt.image_grid_thw for prompt in prompts])  # (images, 3)
    output = visual(pixels.to(weight.device, weight.dtype), grid_thw=grid.to(weight.device))
    return list(output.pooler_output.split(counts))


def embed_patches_by_matmul(visual: nn.Module) -> None:
    """Make the vision tower embed its patches with a matrix product instead of a convolution.

    The kernel covers a patch exactly and never moves, so both are the same sum; as a Conv3d it is
    4 to 5 times slower on a CPU (6.9 against 1.5 ms for 1,152 patches, forward and backward).
    """
    patch_embed = visual.patch_embed
    patch_embed.forward = MethodType(_embed_patches, patch_embed)


def _embed_patches(patch_embed: Any, pixels: Tensor) -> Tensor:
    """Return (K, E) embeddings of (K, patch_dim) pixels."""
    weight = patch_embed.proj.weight  # (E, channels, time, height, width)
    return nn.functional.linear(pixels.to(weight.dtype), weight.flatten(1))
