"""bitsandbytes, the library of 8-bit moments, imported at its first use: nothing else needs it."""

import logging
from typing import Any

import torch


def bitsandbytes_functions(device: torch.device | str) -> Any:
    """Return the library's module of functions, once its update has run on a device.

    Raises:
        ValueError: it is not installed, or its kernels do not run there.
    """
    # On some CPUs it says at its import that a product of 4-bit weights would be slow.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import bitsandbytes.functional as library
    except ImportError as error:
        raise ValueError(
            f"--optimizer adamw_8bit needs the library bitsandbytes ({error}): install it with:"
            " python -m pip install 'bitsandbytes >= 0.50'"
        ) from error
    try:
        _try_out(library, device)
    except Exception as error:  # whatever a missing kernel or a wrong driver raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"--optimizer adamw_8bit: bitsandbytes does not run on {device} ({reason}): install a"
            " release that knows this machine's CUDA (python -m bitsandbytes says what is wrong),"
            " or use --optimizer adamw"
        ) from error
    return library


def _try_out(library: Any, device: torch.device | str) -> None:
    """Move one block of weights."""
    weight, gradient = (torch.ones(256, device=device) for _ in range(2))
    codes = [torch.zeros(256, dtype=torch.uint8, device=device) for _ in range(2)]
    scales = [torch.zeros(1, device=device) for _ in range(2)]
    maps = [library.create_dynamic_map(signed=signed).to(device) for signed in (True, False)]
    numbers = {"beta1": 0.9, "beta2": 0.999, "beta3": 0.0, "alpha": 0.0, "eps": 1e-8, "step": 1}
    library.optimizer_update_8bit_blockwise(
        "adam",
        gradient,
        weight,
        *codes,
        lr=0.5,
        qmap1=maps[0],
        qmap2=maps[1],
        absmax1=scales[0],
        absmax2=scales[1],
        **numbers,
    )
    if not torch.allclose(weight, torch.full_like(weight, 0.5), atol=1e-3):  # Adam's first step
        raise RuntimeError(f"an update gave {weight[0].item()}, not 0.5")
