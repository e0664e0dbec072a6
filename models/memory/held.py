"""How a run holds its model: the settings that its memory depends on."""

from dataclasses import dataclass
from typing import Literal

import torch

from models.memory.adapters import AdapterSizes

MOMENTS = 8.0  # bytes of a weight's two, in float32
QUANTIZED_MOMENTS = 2 + 2 * 4 / 256  # in 8 bits, and a float32 scale per 256 of them
Place = Literal["device", "cpu", "none"]


@dataclass(frozen=True, kw_only=True)
class Held:
    """Where parts are and in which numbers. The defaults are of one process on a CPU."""

    dtype: torch.dtype
    checkpointing: bool = False
    freeze_vision: bool = False
    reference: Place = "device"  # "cpu": a layer at a time is lent to the device
    samples: bool = True  # a method that has rollouts
    on_cuda: bool = False
    tile_bytes: int = 16 * 2**20  # of the log-prob op
    ranks: int = 1  # processes that share master, moments and gradients
    keeps_weights: bool = False  # gathered for a whole pass, and not layer by layer
    moment_bytes: float = MOMENTS
    offloads_optimizer: bool = False  # master, moments and gradients wait in CPU memory
    adapters: AdapterSizes | None = None

    @property
    def size(self) -> int:
        """Bytes of a number in a forward."""
        return self.dtype.itemsize

    @property
    def is_half(self) -> bool:
        """Whether the weights have a float32 master beside them."""
        return self.dtype != torch.float32

    @property
    def padded(self) -> bool:
        """Whether attention wants rectangles: varlen flash runs on CUDA in half precision."""
        return not (self.on_cuda and self.is_half)

    @property
    def trains_tower(self) -> bool:
        """Whether a gradient goes through the vision tower."""
        if self.adapters is not None:
            return self.adapters.reach_tower
        return not self.freeze_vision
