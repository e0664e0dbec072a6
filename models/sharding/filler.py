"""Prompts that stand in for missing ones, so that every process runs the same collectives.

A process with fewer micro-batches than the others fills them up, each with one completion of one
token after a prompt of one token, which weighs 0 in the loss. Every layer's weights are then
gathered, and its gradients added up, as often as elsewhere.
"""

from math import prod

import torch

from models.model import PolicyModel
from models.prompts.prompt import EncodedPrompt


def filler_prompt(policy: PolicyModel) -> EncodedPrompt:
    """Return the smallest prompt that a policy can run: one token, no image.

    A policy whose vision tower is trained runs its tower for it all the same: see `blank_image`.
    """
    return EncodedPrompt(
        input_ids=torch.tensor([policy.processor.pad_id]),
        position_ids=torch.zeros(3, 1, dtype=torch.int64),
        pixel_values=torch.zeros(0, _patch_size(policy)),
        image_grid_thw=torch.zeros(0, 3, dtype=torch.int64),
    )


def blank_image(policy: PolicyModel) -> EncodedPrompt:
    """Return the smallest image that the vision tower can run, one visual token, all of one colour.

    Where a sharded tower has nothing to see, it sees this: its blocks' collectives must run as
    often in every process.
    """
    side = policy.visual.spatial_merge_size
    return EncodedPrompt(
        input_ids=torch.tensor([policy.processor.image_token_id]),
        position_ids=torch.zeros(3, 1, dtype=torch.int64),
        pixel_values=torch.zeros(side**2, _patch_size(policy)),
        image_grid_thw=torch.tensor([[1, side, side]]),
    )


def _patch_size(policy: PolicyModel) -> int:
    # of the shape alone: the weights may be sharded
    return prod(policy.visual.patch_embed.proj.weight.shape[1:])
