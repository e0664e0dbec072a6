"""The two models of a run: the policy that is trained, and the reference of its KL."""

from pathlib import Path
from typing import Any

import torch

from grpo.settings.config import GRPOConfig
from grpo.settings.sharded import keeps_sampler
from models.checkpoint.adapter_files import load_adapters
from models.checkpoint.loading import load_policy
from models.checkpoint.manifest import ADAPTER
from models.checkpoint.offload import offload_layers
from models.files import find_checkpoint
from models.lora.policy import LoraPolicy, WithoutAdapters
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
        seen = seen_as(find_checkpoint(_whole(config, start)), config.image_size)
        print(fitted(f"images: {size}, seen as {seen}"))
    policy = _load(
        _whole(config, start),
        config,
        freeze_vision=config.freeze_vision,
        gradient_checkpointing=bool(config.gradient_checkpointing),
    )
    if config.lora is not None:
        policy = _with_adapters(policy, config, start)
    policy = _spread(
        policy,
        config,
        reshard_after_forward=config.reshard_after_forward is not False,
        offload=config.offload_optimizer,
    )
    policy.keeps_decoding_copy = world().size == 1 or keeps_sampler(config)
    return policy


def _whole(config: GRPOConfig, start: str | Path) -> str | Path:
    """Return the model whose weights are loaded: a run's checkpoint may hold adapters alone."""
    return start if config.lora is None else config.model


def _with_adapters(policy: Policy, config: GRPOConfig, start: str | Path) -> LoraPolicy:
    """Return the policy with adapters: fresh ones, or a checkpoint's that it goes on from."""
    assert config.lora is not None
    frozen = config.freeze_vision
    trained = LoraPolicy(policy, config.lora, seed=config.seed, freeze_vision=frozen)
    trained.saves_merged = config.merge_adapters
    if start != config.model:
        folder = Path(start) / ADAPTER
        load_adapters(trained, folder if folder.is_dir() else Path(start))
    count = sum(w.numel() for w in trained.parameters() if w.requires_grad)
    names = ", ".join(config.lora_targets)
    print(f"adapters: rank {config.lora_rank} beside {names}, {count:,} parameters trained")
    return trained


def load_reference(config: GRPOConfig, policy: Policy) -> Policy | None:
    """Return the start model, frozen, as the reference; None where no step has a KL.

    It shares a frozen vision tower. Of a policy with adapters it is the policy without them.
    """
    if not config.has_reference:
        return None
    if isinstance(policy, LoraPolicy):
        return WithoutAdapters(policy)
    if config.reference_device != config.device:
        reference = load_policy(config.model, dtype=config.dtype, device=config.reference_device)
        offload_layers(reference, torch.device(config.device))
        return reference
    reference = _load(config.model, config)
    reference.requires_grad_(False)
    # Its layers are freed in any case: no backward comes to use them again.
    reference = _spread(reference, config, reshard_after_forward=True, decodes=False)
    reference.share_vision(policy)
    return reference


def _load(path: str | Path, config: GRPOConfig, **options: Any) -> Policy:
    """Return a policy on the run's device; where it will be cut into shards, on the CPU."""
    if world().size == 1:
        return load_policy(path, dtype=config.dtype, device=config.device, **options)
    # On its way to a GPU it stays in the file's own pages, which the processes of a machine share.
    is_moved = config.device != "cpu"
    return load_policy(path, dtype=config.dtype, device="cpu", mapped=is_moved, **options)


def _spread(policy: Policy, config: GRPOConfig, **options: bool) -> Policy:
    """Return the policy, sharded where several processes train."""
    if world().size == 1:
        return policy
    # Only here: what shards takes most of a second to import.
    from models.sharding.shard import mesh_of_all, shard

    mesh = mesh_of_all(torch.device(config.device))
    return shard(policy, mesh, **options)
