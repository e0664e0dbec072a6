"""The two models of a run: the policy that is trained, and the frozen start model of the KL."""

from pathlib import Path

import torch

from grpo.settings.config import GRPOConfig
from models.checkpoint.loading import load_policy
from models.checkpoint.offload import offload_layers
from models.files import find_checkpoint
from models.policy import Policy
from models.prompts.image_processor import seen_as
from process.page import fitted


def load_trained(config: GRPOConfig, start: str | Path) -> Policy:
    """Return the policy as it is before the first step; print how it sees an image.

    Args:
        config: with a definite device and dtype (`resolve_hardware`).
        start: the start model, or the checkpoint of a run that goes on.
    """
    if config.image_size:
        size = f"{config.image_size} x {config.image_size}"
        seen = seen_as(find_checkpoint(start), config.image_size)
        print(fitted(f"images: {size}, seen as {seen}"))
    return load_policy(
        start,
        dtype=config.dtype,
        device=config.device,
        freeze_vision=config.freeze_vision,
        gradient_checkpointing=bool(config.gradient_checkpointing),
    )


def load_reference(config: GRPOConfig, policy: Policy) -> Policy | None:
    """Return the frozen start model, which shares a frozen vision tower; None without a KL term."""
    if config.beta == 0:
        return None
    reference = load_policy(config.model, dtype=config.dtype, device=config.reference_device)
    reference.requires_grad_(False)
    if config.reference_device != config.device:
        offload_layers(reference, torch.device(config.device))
    else:
        reference.share_vision(policy)
    return reference
