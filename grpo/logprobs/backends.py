"""Which backend computes, and why: the kernels where they run, plain PyTorch elsewhere.

A backend is registered under a name with a function that returns it for a device, or says why it
cannot run there. Two ship: "cuda" and "torch"; tests register an emulation of the former.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache

import torch

from grpo.logprobs import rows_torch
from grpo.logprobs.tiles import Backend

# device -> backend; RuntimeError says why it cannot run there and what to do
Factory = Callable[[torch.device], Backend]


def _kernels(device: torch.device) -> Backend:
    """Return the backend of the CUDA kernels, compiled for this device."""
    if device.type != "cuda":
        raise RuntimeError(
            f"backend='cuda' cannot run on {device}: use 'auto' or 'torch', or move to a GPU"
        )
    return _loaded_kernels(device)


def _loaded_kernels(device: torch.device) -> Backend:  # pragma: no cover - as driver.py
    from grpo.logprobs.cuda.driver import (
        launcher,  # needs the CUDA packages that such a torch brings
    )
    from grpo.logprobs.cuda.rows import kernel_backend

    return kernel_backend(launcher(device))


_FACTORIES: dict[str, Factory] = {"torch": lambda _device: rows_torch.BACKEND, "cuda": _kernels}


def register_backend(name: str, factory: Factory) -> None:
    """Add a backend that `token_logprobs(..., backend=name)` can name."""
    if name in ("auto", *_FACTORIES):
        raise ValueError(f"there is a backend {name!r} already")
    _FACTORIES[name] = factory


def check_backend(name: str) -> None:
    """Raise ValueError for a name that is neither "auto" nor registered."""
    if name != "auto" and name not in _FACTORIES:
        raise ValueError(f"unknown backend {name!r}: use one of {('auto', *_FACTORIES)}")


def choose_backend(name: str, device: torch.device, dtype: torch.dtype) -> tuple[str, str]:
    """Return the name of the backend that runs, never "auto", and the reason in a few words.

    Args:
        name: as given by the user.
        device: of the tensors.
        dtype: of the hidden states or logits; the kernels know float32 and bfloat16.

    Raises:
        ValueError: unknown name.
        RuntimeError: the one named cannot run there.
        TypeError: it does not know the dtype.
    """
    check_backend(name)
    if name != "auto":
        if name != "torch" and dtype not in (torch.float32, torch.bfloat16):
            raise TypeError(
                f"backend={name!r} knows float32 and bfloat16, not {dtype}: use 'torch'"
            )
        get_backend(name, device)
        return name, "as asked"
    if device.type != "cuda":
        return "torch", f"the kernels need a GPU and this is {device}"
    if dtype not in (torch.float32, torch.bfloat16):
        return "torch", f"the kernels know float32 and bfloat16, not {dtype}"
    reason = _why_no_kernels(device)
    if reason:
        return "torch", f"the kernels cannot run: {reason}"
    return "cuda", f"the kernels run on {torch.cuda.get_device_name(device)}"


@lru_cache  # per name and device: a factory may compile
def get_backend(name: str, device: torch.device) -> Backend:
    """Return a backend by its own name."""
    return _FACTORIES[name](device)


@lru_cache  # so that the attempt, and the warning, happen once
def _why_no_kernels(device: torch.device) -> str:
    """Return why the kernels cannot run on this GPU, nothing where they can; warn once."""
    try:
        get_backend("cuda", device)
    except RuntimeError as error:
        if _is_capturing(device):
            raise  # it says what to do; a fallback would last as long as the process
        warnings.warn(
            f"log-probabilities fall back to plain PyTorch on {device}, slower: {error}",
            stacklevel=2,
        )
        return str(error)
    return ""


def _is_capturing(device: torch.device) -> bool:
    """Return whether a CUDA graph is being recorded on this device's current stream."""
    if not torch.cuda.is_available():
        return False
    with torch.cuda.device(device):  # pragma: no cover - needs a GPU
        return torch.cuda.is_current_stream_capturing()
