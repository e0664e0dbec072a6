"""Where a run computes: "auto" settings made definite, and the device made ready."""

from dataclasses import replace

import torch

from grpo.logprobs.backends import choose_backend
from grpo.moments.library import bitsandbytes_functions
from grpo.settings.checkpointing import with_checkpointing
from grpo.settings.config import GRPOConfig
from grpo.settings.device_memory import card_memory, check_memory
from grpo.settings.sharded import with_resharding
from models.checkpoint.loading import DTYPES
from models.devices import (
    check_device,
    choose_device,
    default_dtype,
    make_current,
)
from models.products import sum_in_float32
from process.allocator import keep_freed_memory
from process.bars import warn
from process.ranks import world
from process.threads import say_if_crowded


def resolve_hardware(config: GRPOConfig) -> GRPOConfig:
    """Return the config with device, dtype, reference device and checkpointing made definite.

    Prints whether activations are recomputed, and why, where that was left to the run's memory.
    From then on this process sums matrix products in float32: see `sum_in_float32`.

    Raises:
        ValueError: no such device here, a reference on a second GPU, or kernels that cannot run,
            the library of 8-bit moments among them.
    """
    if config.verify_prefix and world().size > 1:
        raise ValueError(
            "--verify-prefix compares a whole model with transformers' own, and each of several"
            " processes has a part of it: try it without torchrun, with the same model and data and"
            " --max-steps 1"
        )
    device = choose_device(config.device)
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if default_dtype(device) == torch.float32 else "bfloat16"
    reference = device
    if config.reference_device != "auto" and not config.lora_rank:  # else it is the policy itself
        reference = check_device(config.reference_device)
    if reference not in (device, torch.device("cpu")):
        raise ValueError(
            f"reference_device={config.reference_device} is neither the run's device, {device}, nor"
            " cpu: use one of these"
        )
    try:
        choose_backend(config.logprob_backend, device, DTYPES[dtype])
    except RuntimeError as error:
        raise ValueError(f"logprob_backend={config.logprob_backend}: {error}") from error
    if config.optimizer == "adamw_8bit":
        bitsandbytes_functions(device)
    sum_in_float32()
    definite = replace(config, device=str(device), dtype=dtype, reference_device=str(reference))
    definite, why = with_checkpointing(definite)
    if why:
        print(why)
    return with_resharding(definite)


def prepare_device(config: GRPOConfig) -> dict[str, str]:
    """Return the log-prob backend's name and why it is that one; make the device ready for a run.

    Prints the backend, on CUDA a warning of a run that may not fit, on a CPU one of other processes
    that keep its cores busy.

    Args:
        config: as `resolve_hardware` returns it.

    Raises:
        ValueError: the run does not fit the device.
    """
    device = torch.device(config.device)
    make_current(device)
    if device.type == "cpu":
        keep_freed_memory()
        say_if_crowded()
        if config.offload_optimizer:
            warn(
                "--offload-optimizer: the run is on the CPU, so it saves no memory, but takes some"
            )
    else:
        warning = check_memory(config, card_memory(device))
        if warning:
            warn(warning)
    name, why = choose_backend(config.logprob_backend, device, DTYPES[config.dtype])
    print(f"log-probabilities: backend {name} ({why})")
    return {"name": name, "why": why}
