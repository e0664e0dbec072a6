"""Pixels to image features. The only file that knows how the pixels of several images are joined.

Shapes: N prompts, K image patches, T visual tokens of one prompt, D hidden size.
"""

from collections.abc import Sequence
from itertools import groupby
from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision

from models.architecture import PatchEmbed, VisionAttention, VisionTower
from models.prompts.prompt import EncodedPrompt


def image_features(visual: VisionTower, prompts: Sequence[EncodedPrompt]) -> list[Tensor]:
    """Return the features of each prompt's images, in order: (T, D) each, T = 0 without images.

    The vision tower runs once over all images of the batch. The patches of one image do not see
    another's: transformers cuts the attention at image boundaries, which it takes from the grid.
    """
    # The tower merges neighbouring patches into one visual token.
    merged = visual.spatial_merge_size**2  # patches of one token
    counts = [len(prompt.pixel_values) // merged for prompt in prompts]
    # Prompts without images need no pass, but features of the right width and device.
    weight = visual.patch_embed.proj.weight
    if sum(counts) == 0:
        last = cast(nn.Linear, visual.merger.mlp[-1])
        return [weight.new_zeros(0, last.out_features) for _ in prompts]
    # One pass for all images: small ones alone would leave a device idle.
    pixels = torch.cat([prompt.pixel_values for prompt in prompts])  # (K, patch_dim)
    grid = torch.cat([prompt.image_grid_thw for prompt in prompts])  # (images, 3)
    # The prompts' pixels are float32, and rounded to the weights' dtype here alone.
    output = visual(pixels.to(weight.device, weight.dtype), grid_thw=grid.to(weight.device))
    return list(output.pooler_output.split(counts))


def are_equal(visual: VisionTower, other: VisionTower) -> bool:
    """Return whether two towers have the same weights, to the bit."""
    ours, theirs = visual.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name])
        for name in ours
    )


def embed_patches_by_matmul(visual: VisionTower) -> None:
    """Make the vision tower embed its patches with a matrix product instead of a convolution.

    The kernel covers a patch exactly and never moves, so both are the same sum; as a Conv3d it is
    4 to 5 times slower on a CPU (6.9 against 1.5 ms for 1,152 patches, forward and backward).
    """
    patch_embed = visual.patch_embed
    patch_embed.forward = MethodType(_embed_patches, patch_embed)


def _embed_patches(patch_embed: PatchEmbed, pixels: Tensor) -> Tensor:
    """Return (K, E) embeddings of (K, patch_dim) pixels."""
    # A product in the weights' dtype, as the convolution has it.
    weight = patch_embed.proj.weight  # (E, channels, time, height, width)
    return nn.functional.linear(pixels.to(weight.dtype), weight.flatten(1))


def attend_in_runs(visual: VisionTower) -> None:
    """Make the vision tower run neighbouring images of equal size in one attention call.

    An image, or in Qwen2.5-VL a window of one, attends to itself alone. transformers takes them one
    after the other, asking the device for their sizes in every block; images of one size, which is
    what --image-size makes, are a batch instead (32 images of 84 x 84 in 3 blocks: 96 calls become
    3).
    """
    for block in visual.blocks:
        block.attn.forward = MethodType(_attend, block.attn)


def _attend(
    attention: VisionAttention,
    hidden_states: Tensor,
    cu_seqlens: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    **_: Any,
) -> Tensor:
    """Return (K, E): the patches of an image, or of a window, attend to each other alone.

    The arguments' names are those by which transformers' blocks call.
    """
    # Queries, keys and values are one projection: (K, 3, H, d) taken apart.
    query, key, value = (
        attention.qkv(hidden_states).unflatten(1, (3, attention.num_heads, -1)).unbind(1)
    )  # (K, H, d) each
    query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)  # (K, H, d)
    # Neighbours of one size are a batch; each attends to itself, without a mask.
    runs = _runs(cu_seqlens)
    sizes = [count * length for count, length in runs]
    read = [
        _attend_batch(*(part.unflatten(0, run) for part in parts), scale=attention.scaling)
        for run, *parts in zip(runs, *(t.split(sizes) for t in (query, key, value)), strict=True)
    ]  # (count * length, H, d) each
    return attention.proj(torch.cat(read).flatten(1))


def _attend_batch(query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> Tensor:
    """Return (count * length, H, d) of (count, length, H, d): each sequence attends to itself."""
    query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
    read = nn.functional.scaled_dot_product_attention(query, key, value, scale=scale)
    return read.transpose(1, 2).flatten(0, 1)


def _runs(cu_seqlens: Tensor) -> list[tuple[int, int]]:
    """Return (how many, how long) of neighbouring sequences of equal length.

    Kept on the tensor, which all blocks of a pass share: the device is asked once.

    >>> _runs(torch.tensor([0, 4, 8, 10, 12, 14]))
    [(2, 4), (3, 2)]
    """
    holder: Any = cu_seqlens
    if not hasattr(holder, "runs_of_equals"):
        lengths = cu_seqlens.diff().tolist()
        holder.runs_of_equals = [(len(list(run)), length) for length, run in groupby(lengths)]
    return holder.runs_of_equals
