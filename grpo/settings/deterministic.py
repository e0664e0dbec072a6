"""`--deterministic`: on a GPU the same run twice gives the same numbers, to the bit.

Without it atomic additions and cuBLAS's workspaces order some sums by chance. Of ours only the
sampler's running sums have no deterministic kernel; grpo/inverse_cdf.py then adds whole numbers,
whose order does not matter. The kernels of grpo/logprobs/cuda add in one order always. Anything
else without one raises, by its name. A CPU's run is the same to the bit either way.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from grpo.settings.config import GRPOConfig
from process.bars import warn

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # read once, when cuBLAS is first used
FIXED = (":4096:8", ":16:8")  # of one stream's sums


@contextmanager
def deterministic(config: GRPOConfig) -> Iterator[None]:
    """Let the block compute as `--deterministic` says; afterwards all is set as it was.

    Args:
        config: with a definite device (`resolve_hardware`).

    Raises:
        ValueError: cuBLAS is in use already, with other workspaces than are needed.
    """
    if not config.deterministic:
        yield
        return
    if config.device == "cpu":
        warn("--deterministic changes nothing on a CPU, where a run is the same to the bit anyway")
        yield
        return
    given = os.environ.get(WORKSPACE)
    if given not in FIXED:
        if torch.cuda.is_initialized():
            raise ValueError(
                f"deterministic: CUDA is in use already: set {WORKSPACE}={FIXED[0]} before Python"
                " is started"
            )
        os.environ[WORKSPACE] = FIXED[0]
    modes = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # it times kernels, and takes the one that won
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(modes[0], warn_only=warns)
        torch.backends.cudnn.benchmark = modes[1]
        if given is None:
            os.environ.pop(WORKSPACE, None)
        else:
            os.environ[WORKSPACE] = given
