"""Where a run computes: "auto" settings made definite, and whether it fits there."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import torch

from grpo.logprobs.api import working_bytes
from grpo.logprobs.backends import choose_backend
from grpo.settings.config import GRPOConfig
from models.checkpoint.loading import DTYPES
from models.checkpoint.memory import MemoryEstimate, estimate_memory
from models.decode.buffers import Bucket, count_bucket, slot_bucket
from models.devices import (
    check_device,
    checkpoints_activations,
    choose_device,
    default_dtype,
    make_current,
)
from models.products import sum_in_float32
from process.allocator import keep_freed_memory
from process.page import fitted_on
from process.threads import say_if_crowded

MARGIN = 0.05  # of the device: how near a sum of formulas may come to it without a word

_CONTAINER = Path("/sys/fs/cgroup")  # of this process, as a container sees it


def resolve_hardware(config: GRPOConfig) -> GRPOConfig:
    """Return the config with device, dtype, reference device and checkpointing made definite.

    From then on this process sums matrix products in float32: see `sum_in_float32`.

    Raises:
        ValueError: no such device here, a reference on a second GPU, or kernels that cannot run.
    """
    device = choose_device(config.device)
    dtype = config.dtype
    if dtype == "auto":
        dtype = "float32" if default_dtype(device) == torch.float32 else "bfloat16"
    reference = device
    if config.reference_device != "auto":
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
    sum_in_float32()
    checkpointing = config.gradient_checkpointing
    return replace(
        config,
        device=str(device),
        dtype=dtype,
        reference_device=str(reference),
        gradient_checkpointing=(
            checkpoints_activations(device) if checkpointing is None else checkpointing
        ),
    )


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
    else:
        available = torch.cuda.get_device_properties(device).total_memory
        warning = check_memory(memory_of_run(config), available)
        if warning:
            print(fitted_on(sys.stderr, f"warning: {warning}"), file=sys.stderr)
    name, why = choose_backend(config.logprob_backend, device, DTYPES[config.dtype])
    print(f"log-probabilities: backend {name} ({why})")
    return {"name": name, "why": why}


def free_memory(device: torch.device) -> float:
    """Return the bytes that new tensors can have on a device; inf where the system does not say."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + held
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return math.inf
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return min([1024 * kilobytes[0] if kilobytes else math.inf, _left_in_container(_CONTAINER)])


def _left_in_container(folder: Path) -> float:
    """Return what a container's own limit leaves, inf without one: beyond it a process is killed.

    Files that were read and could be forgotten are counted as used there, but are not.
    """
    try:
        limit, used = (
            (folder / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current")
        )
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        stat = {name: int(value) for name, value in (line.split() for line in lines)}
        return float(limit.strip().replace("max", "inf")) - int(used) + stat["inactive_file"]
    except (OSError, ValueError, KeyError):
        return math.inf


def idle_between_steps(config: GRPOConfig) -> float:
    """Return the bytes of a run's device that nothing holds between steps, such as in evaluations.

    On CUDA what the device has less what `memory_of_run` says stays: the same at every evaluation
    of a run, while memory that is free now is not.
    """
    device = torch.device(config.device)
    if device.type == "cpu":
        return free_memory(device)
    estimate = memory_of_run(config)
    resident = estimate.total - estimate.activations
    return torch.cuda.get_device_properties(device).total_memory - resident


def memory_of_run(config: GRPOConfig) -> MemoryEstimate:
    """Return what a run with these (resolved) settings needs on its device."""
    reference = config.method == "grpo" and config.beta > 0
    # 28 pixels are two patches; images of their own size are taken as 384 x 384, Med-R1's
    side = 2 * max(1, round((config.image_size or 384) / 28))
    images = min(config.prompts_per_step, max(1, config.micro_batch_tokens // (side**2 // 4)))
    on_cuda = config.device.startswith("cuda")
    graphs = config.method == "grpo" and on_cuda
    return estimate_memory(
        config.model,
        dtype=DTYPES[config.dtype],
        text_tokens=config.micro_batch_tokens,
        patches=images * side**2,
        reference=reference and config.reference_device == config.device,
        freeze_vision=config.freeze_vision,
        gradient_checkpointing=bool(config.gradient_checkpointing),
        decode_bucket=_rollout_bucket(config, side**2 // 4) if graphs else None,
        tiles=working_bytes("cuda" if on_cuda else "cpu"),
        on_cuda=on_cuda,
    )


def _rollout_bucket(config: GRPOConfig, image_tokens: int) -> Bucket:
    """Return what a rollout's caches hold, questions taken as 128 tokens."""
    return Bucket(
        rows=count_bucket(config.prompts_per_step * config.group_size),
        slots=slot_bucket(config.max_completion_tokens),
        prompts=count_bucket(config.prompts_per_step),
        prompt_slots=slot_bucket(image_tokens + 128),
        cells=count_bucket(config.group_size),
    )


def check_memory(estimate: MemoryEstimate, available: int) -> str | None:
    """Return a warning if the run may not fit, or None.

    Args:
        estimate: from `memory_of_run`.
        available: bytes of the device.

    Raises:
        ValueError: what stays for the whole run alone is more than the device has: micro-batches
            and recomputed activations cannot help.
    """
    on_device = estimate.reference > 0
    needs = f"the run needs about {estimate}, the device has {available / 1e9:.1f} GB"
    if estimate.resident > available:
        ways = ["--freeze-vision"] * (not estimate.features)
        ways += ["--reference-device cpu or --beta 0"] * on_device
        lower = f"{' and '.join(ways)} lower it. Else take" if ways else "Take"
        raise ValueError(
            f"{needs}: full fine-tuning of this model does not fit. {lower} a smaller model, or a"
            " larger device"
        )
    if estimate.total > (1 - MARGIN) * available:
        short = "more than that" if estimate.total > available else f"within {MARGIN:.0%} of it"
        return (
            f"{needs}, {short}: it may run out of memory; lower --micro-batch-tokens, keep"
            f" --gradient-checkpointing on{', or use --reference-device cpu' * on_device}"
        )
    return None
