"""Whether a run fits its device, and how much of it nothing holds."""

import math
from pathlib import Path

import torch

from grpo.logprobs.api import working_bytes
from grpo.settings.config import GRPOConfig
from models.checkpoint.loading import DTYPES
from models.checkpoint.memory import MemoryEstimate, estimate_memory
from models.decode.buffers import Bucket, count_bucket, slot_bucket

MARGIN = 0.05  # of the device: how near a sum of formulas may come to it without a word

_CONTAINER = Path("/sys/fs/cgroup")  # of this process, as a container sees it


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
