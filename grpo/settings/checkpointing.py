"""Whether activations are recomputed in the backward pass, where nobody says."""

from dataclasses import replace

import torch

from grpo.settings.config import GRPOConfig
from grpo.settings.device_memory import card_memory, fits
from grpo.settings.run_memory import memory_of_run
from models.devices import may_checkpoint


def with_checkpointing(config: GRPOConfig) -> tuple[GRPOConfig, str]:
    """Return the config with `gradient_checkpointing` made definite, and why if it was not.

    On a GPU they are kept where all fits with a margin, and recomputed where not: that costs about
    a third more time for the update, and changes no gradient. On a CPU they are kept.

    Args:
        config: with a definite device, dtype and place of the reference.
    """
    if config.gradient_checkpointing is not None:
        return config, ""
    device, kept = torch.device(config.device), replace(config, gradient_checkpointing=False)
    if not may_checkpoint(device):
        return kept, ""
    if device.type != "cuda":  # the defaults of a GPU, on none
        return replace(config, gradient_checkpointing=True), ""
    available = card_memory(device)
    estimate = memory_of_run(kept)
    needs = f"without it the run needs about {estimate.total / 1e9:.1f} of {available / 1e9:.1f} GB"
    if fits(estimate, available):
        return kept, f"gradient checkpointing: off ({needs})"
    return replace(config, gradient_checkpointing=True), f"gradient checkpointing: on ({needs})"
