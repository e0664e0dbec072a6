"""Whether several processes keep what they gather: "auto" made definite."""

from dataclasses import replace

import torch

from grpo.settings.config import GRPOConfig
from grpo.settings.device_memory import card_memory, fits
from grpo.settings.run_memory import memory_of_run
from process.ranks import place


def keeps_sampler(config: GRPOConfig) -> bool:
    """Return whether the copy that decodes stays beside the updates: where it fits there.

    Else every rollout gathers it anew and captures its CUDA graphs again. With adapters it stays:
    most of it, the frozen weights, never changes.

    Args:
        config: with everything definite.
    """
    device = torch.device(config.device)
    if device.type != "cuda" or config.lora is not None:
        return True
    return fits(memory_of_run(config), card_memory(device))


def with_resharding(config: GRPOConfig) -> GRPOConfig:
    """Return the config with `reshard_after_forward` made definite; None stays for one process.

    Args:
        config: with all else that depends on the hardware made definite.
    """
    ranks = place().size
    if ranks == 1 or config.reshard_after_forward is not None:
        return config
    device = torch.device(config.device)
    # On CPUs all processes share one memory, and gathering is a copy within it.
    available = 0
    if device.type == "cuda":
        available = card_memory(device)
    kept = replace(config, reshard_after_forward=False)
    return (
        kept if fits(memory_of_run(kept), available) else replace(kept, reshard_after_forward=True)
    )
