"""Run a frozen model whose layers stay in CPU memory: for a reference that does not fit beside.

A layer's weights are on the device only while it runs. What is small or needed throughout, the
embeddings, norms, patch embedding and merger, is moved there for good.
"""

from typing import Any

import torch
from torch import Tensor, nn

from models.devices import check_device
from models.policy import Policy


def offload_layers(policy: Policy, device: torch.device | str) -> Policy:
    """Return the policy, which then runs on `device` with its layers' weights on the CPU.

    Every decoder layer and vision block is copied to the device just before its forward and
    dropped after it: the time of one copy over the bus per layer and pass, for the memory of one
    layer instead of all. The results are those of the whole model on the device.

    For passes without gradient only: all parameters are frozen, and `prefill` refuses.

    Raises:
        ValueError: there is no such device, or the policy is on another one (and not on the CPU,
            where it is best loaded: the device then never holds all of it).
    """
    device = check_device(device)
    if policy.device not in (torch.device("cpu"), device):
        raise ValueError(
            f"the layers are to be offloaded, the passes to run on {device}, but the policy is on"
            f" {policy.device}: load it with device='cpu'"
        )
    # A backward would need the weights after the layer that lent them has given them back.
    policy.requires_grad_(False)
    layers = [*policy.text.layers, *policy.visual.blocks]
    for layer in layers:
        layer.cpu()
    # The rest is small or needed throughout a pass: moved for good.
    in_layers = {id(parameter) for layer in layers for parameter in layer.parameters()}
    for module in policy.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in in_layers:
                getattr(module, name).data = parameter.data.to(device)
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))  # rotary frequencies
    for layer in layers:
        _LayerOnDemand(layer, device)
    policy.offloaded = True
    return policy


class _LayerOnDemand:
    """Hooks that lend a layer its weights on the device for the time of its forward."""

    def __init__(self, layer: nn.Module, device: torch.device) -> None:
        self.device = device
        self.stored: dict[nn.Parameter, Tensor] = {}
        for parameter in layer.parameters():
            # From pinned memory the copy runs at the bus's full speed and the CPU does not wait for
            # it. The GPU does: copy and kernels share a stream, so nothing overlaps.
            data = parameter.data.pin_memory() if device.type == "cuda" else parameter.data
            parameter.data = self.stored[parameter] = data
        layer.register_forward_pre_hook(self.bring)
        layer.register_forward_hook(self.drop, always_call=True)

    def bring(self, *_: Any) -> None:
        for parameter, data in self.stored.items():
            parameter.data = data.to(self.device, non_blocking=True)

    def drop(self, *_: Any) -> None:
        for parameter, data in self.stored.items():
            parameter.data = data
