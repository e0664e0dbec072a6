"""Whether a run fits its device, and how much of it nothing holds."""

import math
from pathlib import Path

import torch

from grpo.settings.config import GRPOConfig
from grpo.settings.memory_advice import together, ways_to_save
from grpo.settings.run_memory import memory_of_run
from models.memory import MemoryEstimate
from process.ranks import place, world

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


def card_memory(device: torch.device) -> int:
    """Return the bytes of a GPU; where several processes have one each, of the smallest.

    What is recomputed, gathered again or freed hangs on it, and they must all do the same: else
    some wait for what the others never send.
    """
    return -world().most(-torch.cuda.get_device_properties(device).total_memory)


def idle_between_steps(config: GRPOConfig) -> float:
    """Return the bytes of a run's device that nothing holds between steps, such as in evaluations.

    On CUDA what the device has less what `memory_of_run` says stays: the same at every evaluation
    of a run, while memory that is free now is not.
    """
    device = torch.device(config.device)
    if device.type == "cpu":
        return free_memory(device)
    return torch.cuda.get_device_properties(device).total_memory - memory_of_run(config).staying


def fits(estimate: MemoryEstimate, available: float) -> bool:
    """Return whether a sum of formulas is so far below what there is that it may be trusted."""
    return estimate.total <= (1 - MARGIN) * available


def check_memory(config: GRPOConfig, available: float, *, ranks: int | None = None) -> str | None:
    """Return a warning if the run may not fit, or None.

    Args:
        config: with everything definite.
        available: bytes of the device.
        ranks: how many processes share the run; by default, as many as there are.

    Raises:
        ValueError: what stays for the whole run alone is more than the device has: micro-batches
            and recomputed activations cannot help.
    """
    ranks = place().size if ranks is None else ranks
    estimate = memory_of_run(config, ranks=ranks)
    if fits(estimate, available):
        return None
    if ranks > 1 and config.lora is None:  # see `grpo.settings.sharded.keeps_sampler`
        estimate = estimate.with_sampler_freed
        if fits(estimate, available):
            return None
    of_each = " of each card" if ranks > 1 else ""
    needs = f"the run needs about {estimate}{of_each}, the device has {available / 1e9:.1f} GB"
    advice = advice_of(config, ranks, available)
    if estimate.resident > available:
        raise ValueError(
            f"{needs}: this model does not fit as it is trained. {advice}, or take a smaller model"
            " or a larger device"
        )
    short = "more than that" if estimate.total > available else f"within {MARGIN:.0%} of it"
    return f"{needs}, {short}: it may run out of memory. {advice}"


def advice_of(config: GRPOConfig, ranks: int, available: float) -> str:
    """Return what lowers the need, each with what it saves, and what of it suffices."""
    ways = [str(way) for way in ways_to_save(config, ranks)]
    if not ways:
        return "No setting saves much of it"
    enough = together(config, ranks, (1 - MARGIN) * available)
    said = "; ".join(ways)
    suffices = f". Together these fit: {' '.join(enough)}" if enough else ""
    return f"What saves memory, by what it costs: {said}{suffices}"
