"""Whether several processes keep what they gather: "auto" made definite."""

from dataclasses import replace

import torch

from grpo.settings.config import GRPOConfig
from grpo.settings.device_memory import MARGIN, memory_of_run
from models.checkpoint.memory import MemoryEstimate
from process.ranks import place


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
        available = torch.cuda.get_device_properties(device).total_memory
    needed = bytes_with_weights_kept(memory_of_run(config), ranks)
    return replace(config, reshard_after_forward=needed > (1 - MARGIN) * available)


def bytes_with_weights_kept(estimate: MemoryEstimate, ranks: int) -> int:
    """Return what a process of several needs if it keeps the weights from forward to backward.

    Beside the copy that decodes: the whole weights once more, and its shards of what is cut.

    Args:
        estimate: of one process that trains alone.
        ranks: the number of processes.
    """
    # In float32 the weights are their own master.
    master = estimate.master or estimate.weights
    cut = estimate.moments + estimate.gradients + estimate.reference
    whole = estimate.total - estimate.master - cut
    return whole + estimate.weights + -(-(master + cut) // ranks)
