"""Where a run computes: "auto" settings made definite."""

from dataclasses import replace

import torch

from grpo.config import GRPOConfig
from models.loading import check_device


def resolve_hardware(config: GRPOConfig) -> GRPOConfig:
    """Return the config with device, dtype, reference device and checkpointing made definite.

    Raises:
        ValueError: no such device here.
    """
    device = check_device(_best_device() if config.device == "auto" else config.device)
    on_cuda = device.type == "cuda"
    dtype = config.dtype if config.dtype != "auto" else "bfloat16" if on_cuda else "float32"
    reference = config.reference_device
    reference = str(device) if reference == "auto" else str(check_device(reference))
    checkpointing = config.gradient_checkpointing
    return replace(
        config,
        device=str(device),
        dtype=dtype,
        reference_device=reference,
        gradient_checkpointing=on_cuda if checkpointing is None else checkpointing,
    )


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
