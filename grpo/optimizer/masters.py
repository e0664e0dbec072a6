"""The float32 weights that AdamW moves, where they lie, and how gradients come to them.

With a learning rate of 1e-6 an update of a bfloat16 weight rounds away. So a weight that is not
float32 has a float32 master, the gradients of all micro-batches are summed in float32, AdamW moves
the master, and the weight is its rounded copy. A float32 weight is its own master, unless masters
lie in CPU memory: --offload-optimizer.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


class Masters:
    """The masters of a policy's weights, by name; a micro-batch's backward adds to their gradients.

    In CPU memory they, their gradients and AdamW's moments take none of the device's. A gradient
    is moved there as soon as it is ready, and the rounded weights are written back after the
    update, both through one pinned piece of memory as large as the largest weight; the backward
    waits for each.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], *, on_cpu: bool = False) -> None:
        """Make them, and have the gradients moved to those that are no weights themselves."""
        self._weights = weights
        self._on_cpu = on_cpu
        self.by_name = {name: self._master(weight) for name, weight in weights.items()}
        moved = [name for name, master in self.by_name.items() if master is not weights[name]]
        self._bridge = _bridge([weights[name] for name in moved]) if on_cpu else None
        # As each gradient is ready, so that those of lower precision never exist all at once.
        for name in moved:
            weights[name].register_post_accumulate_grad_hook(self._mover(self.by_name[name]))

    def drop_gradients(self) -> None:
        """Forget all of them, also those of a pass that was broken off."""
        for weight, master in zip(self._weights.values(), self.by_name.values(), strict=True):
            master.grad = None
            weight.grad = None  # one that memory did not suffice to move to its master

    @torch.no_grad()
    def write_back(self) -> None:
        """Make every weight the rounded copy of its master."""
        # In place: the hooks, and the CUDA graphs that decode, hold these very tensors.
        for name, weight in self._weights.items():
            master = self.by_name[name]
            if master is weight:
                continue
            if self._bridge is None:
                weight.copy_(master)
            else:
                weight.copy_(self._through_bridge(master, weight.dtype))

    def _master(self, weight: nn.Parameter) -> Tensor:
        """Return the float32 weight that AdamW moves."""
        # A sharded weight is float32, and where its shard lies is FSDP's to say.
        if hasattr(weight, "device_mesh"):
            return weight
        if not self._on_cpu:
            if weight.dtype == torch.float32:
                return weight
            return weight.detach().float().requires_grad_()
        return weight.detach().to("cpu", torch.float32, copy=True).requires_grad_()

    def _mover(self, master: Tensor) -> Callable[[Tensor], None]:
        """Return a hook that adds a weight's gradient to its master's, in float32, and drops it."""
        kept: list[Tensor] = []  # a sum's memory in every step: the system would clear it anew

        def move(weight: Tensor) -> None:
            assert weight.grad is not None, "the hook runs once a gradient is there"
            gradient = weight.grad
            if self._bridge is not None:
                gradient = self._through_bridge(gradient, gradient.dtype)
            if master.grad is not None:
                master.grad.add_(gradient.float())
            elif self._on_cpu:
                if not kept:
                    kept.append(torch.empty_like(master, requires_grad=False))
                master.grad = kept[0].copy_(gradient)
            else:
                master.grad = gradient.float()
            weight.grad = None  # only one low-precision gradient exists at a time

        return move

    def _through_bridge(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        """Return a copy in pinned memory, there until the next one, once it is complete."""
        assert self._bridge is not None
        there = self._bridge[: tensor.numel() * dtype.itemsize].view(dtype).view(tensor.shape)
        there.copy_(tensor)  # waits for the device
        return there


def _bridge(weights: list[nn.Parameter]) -> Tensor | None:
    """Return pinned memory for the largest of weights on a GPU; None where nothing is to cross."""
    crossing = [weight for weight in weights if weight.device.type == "cuda"]
    if not crossing:
        return None
    size = max(weight.numel() * weight.element_size() for weight in crossing)
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)
