"""Where a model computes: what a device's name means on this machine, and its defaults.

CUDA calls that name no device mean the current one of the calling thread, which is cuda:0 until
somebody says otherwise. So a command makes its device the current one before it loads anything, and
our own calls name theirs all the same (tests/models/test_devices.py reads the sources for that).
"""

import torch

from process.ranks import place


def choose_device(name: torch.device | str) -> torch.device:
    """Return what --device says; "auto" is the first GPU, or the CPU where there is none.

    Of several processes on a machine each has the GPU of its own number there.

    Raises:
        ValueError: as `check_device`; of several processes, one is named for all of them.
    """
    here = place()
    if here.size > 1 and str(name) != "auto":
        raise ValueError(
            f"--device {name} would be that of all {here.size} processes, and torchrun gives each"
            " the GPU of its own number, or the CPU where there is none: leave it away (to stay on"
            " the CPU beside GPUs, set CUDA_VISIBLE_DEVICES= in the environment)"
        )
    if name == "auto":
        name = f"cuda:{here.local_rank}" if torch.cuda.is_available() else "cpu"
    return check_device(name)


def check_device(device: torch.device | str) -> torch.device:
    """Return the device with its number, "cuda" being cuda:0, so that equal ones have equal names.

    Raises:
        ValueError: it is none of this machine's, which the message lists.
    """
    available = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    # By its name, not as torch reads it: to torch "cuda:256" is cuda:0.
    name = "cuda:0" if str(device) == "cuda" else str(device)
    if name in available:
        return torch.device(name)
    hint = ""
    if name.startswith("cuda") and len(available) == 1:
        hint = f" (torch {torch.__version__} sees no GPU here)"
    raise ValueError(
        f"device {str(device)!r} is not there: use one of {', '.join(available)}{hint}"
    )


def make_current(device: torch.device) -> torch.device:
    """Make a GPU the one that this thread's CUDA calls mean when they name none; return it."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def default_dtype(device: torch.device) -> torch.dtype:
    """Return what weights are loaded in where nobody says: bfloat16 on a GPU, else float32."""
    return torch.bfloat16 if _has_gpu_defaults(device) else torch.float32


def may_checkpoint(device: torch.device) -> bool:
    """Return whether training may recompute activations where nobody says: on a GPU."""
    return _has_gpu_defaults(device)


def _has_gpu_defaults(device: torch.device) -> bool:
    """Return whether the defaults are a GPU's; tests say so of a CPU, see tests/conftest.py."""
    return device.type == "cuda"
