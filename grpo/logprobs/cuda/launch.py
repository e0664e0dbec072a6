"""One kernel launch as plain data: what the driver gets, and what the tests' emulator gets."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TILES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
KERNELS = (
    *(f"forward_{tile}{entropy}" for tile in TILES.values() for entropy in ("", "_entropy")),
    *(
        f"backward_{tile}_to_{out}{entropy}"
        for tile, out in (("fp32", "fp32"), ("fp32", "bf16"), ("bf16", "bf16"))
        for entropy in ("", "_entropy")
    ),
    "finalise",
)

Argument = ctypes.c_void_p | ctypes.c_longlong | ctypes.c_int | ctypes.c_float


@dataclass(frozen=True)
class Launch:
    """A kernel of logprobs.cu by name, `grid` blocks of `block` threads, its arguments in order."""

    kernel: str
    grid: int
    block: int
    arguments: tuple[Argument, ...]

    def addresses(self) -> ctypes.Array[ctypes.c_void_p]:
        """Return where each argument's value lies: the `void**` that cuLaunchKernel takes.

        Valid while the result and this launch are both alive.
        """
        values = [ctypes.addressof(argument) for argument in self.arguments]
        return (ctypes.c_void_p * len(values))(*values)


# Runs a launch on the device that its tensors are on, in the order of the calls.
Launcher = Callable[[Launch, torch.device], None]


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    """Return the address of a tensor's first element; None becomes a null pointer."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
