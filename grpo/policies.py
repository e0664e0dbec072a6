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
from process.ranks import world


def load_trained(config: GRPOConfig, start: str | Path) -> Policy:
    """Return the policy as it is before the first step; print how it sees an image.

    Of several processes each has a part of it (models/sharding/).

    Args:
        config: with a definite device and dtype (`resolve_hardware`).
        start: the start model, or the checkpoint of a run that goes on.
    """
    if config.image_size:
        size = f"{config.image_size} x {config.image_size}"
        seen = seen_as(find_checkpoint(start), config.image_size)
        print(fitted(f"images: {size}, seen as {seen}"))
    policy = load_policy(
        start,
        dtype=config.dtype,
        device=_loading_device(config.device),
        freeze_vision=config.freeze_vision,
        gradient_checkpointing=bool(config.gradient_checkpointing),
    )
    return _spread(policy, config)


def load_reference(config: GRPOConfig, policy: Policy) -> Policy | None:
    """Return the frozen start model, which shares a frozen vision tower; None without a KL term."""
    if config.beta == 0:
        return None
    is_beside = config.reference_device == config.device
    device = _loading_device(config.reference_device)
    reference = load_policy(config.model, dtype=config.dtype, device=device)
    reference.requires_grad_(False)
    if not is_beside:
        return offload_layers(reference, torch.device(config.device))
    reference.share_vision(policy)
    return _spread(reference, config, decodes=False)


def _loading_device(device: str) -> str:
    """Return where a model is loaded: what is spread over processes comes from the CPU's memory."""
    return "cpu" if world().size > 1 else device


def _spread(policy: Policy, config: GRPOConfig, *, decodes: bool = True) -> Policy:
    """Return the policy, spread over the processes where there are several."""
    if world().size == 1:
        return policy
    # importing them takes a second that one process never needs
    from torch.distributed.device_mesh import init_device_mesh

    from models.sharding.shard import shard

    mesh = init_device_mesh(torch.device(config.device).type, (world().size,))
    return shard(policy, mesh, decodes=decodes)
