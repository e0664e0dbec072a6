"""The whole weights of a sharded policy in every process, to decode from."""

import copy
from collections.abc import Set
from typing import Any, cast

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from models.policy import Policy
from models.sharding.policy import ShardedPolicy, sharded_modules


class GatheredCopy:
    """A `DecodingCopy`: a plain policy in the working dtype, written layer by layer when asked for.

    Its tensors keep their addresses until `free`, so CUDA graphs that decode stay as they are. What
    is whole in every process, a frozen tower or adapters, is the sharded policy's own.
    """

    def __init__(self, sharded: ShardedPolicy, plain: Policy) -> None:
        """Take what `empty_copy` has made of the policy before it was sharded."""
        self._sharded, self._plain = sharded, plain
        self._is_stale = self._is_empty = True
        # of each module that gathers: the names of its own weights
        self._groups = _groups(sharded)
        # Of these alone the values change: where adapters are trained, of none.
        self._moving = {n for n, weight in sharded.named_parameters() if weight.requires_grad}

    def policy(self) -> Policy:
        """Return the plain policy with the weights as they are now; all processes call together."""
        if self._is_stale:
            self._gather()
            self._plain.weights_moved()
        self._is_stale = self._is_empty = False
        self._plain.decode_graphs = self._sharded.decode_graphs
        return self._plain.sampler()  # itself; with adapters, their merged copy

    def weights_moved(self) -> None:
        """Note that the weights are others now."""
        self._is_stale = True

    def free(self) -> None:
        """Give back the memory of the copy and of its CUDA graphs."""
        self._plain.free_decoding()
        if self._plain.decoding_copy is not None:
            self._plain.decoding_copy.free()
        for names in self._groups.values():
            for name in names:
                weight = self._plain.get_parameter(name)
                weight.data = weight.data.new_empty(0)
        self._is_stale = self._is_empty = True

    @torch.no_grad()
    def _gather(self) -> None:
        # One group after the other: no second whole copy ever exists.
        for module, names in self._groups.items():
            if not self._is_empty and not self._moving.intersection(names):
                continue
            module.unshard()
            for name in names:
                gathered, ours = self._sharded.get_parameter(name), self._plain.get_parameter(name)
                if ours.shape != gathered.shape:
                    ours.data = torch.empty_like(gathered, dtype=ours.dtype)
                ours.copy_(gathered)
            module.reshard()


def empty_copy(policy: Policy, device: torch.device, whole: Set[nn.Parameter]) -> Policy:
    """Return a policy like this one whose weights are yet to come: they have no elements.

    Args:
        policy: whose processor, kept features and frozen tower the copy shares.
        device: of the weights to come.
        whole: weights that the copy shares, too.
    """
    empty = {
        id(weight): nn.Parameter(weight.new_empty(0, device=device), requires_grad=False)
        for weight in policy.parameters()
    }
    parts: list[Any] = [policy.processor, policy.feature_cache, *whole]
    parts += [policy.visual] if policy.vision_frozen else []
    plain = copy.deepcopy(policy, empty | {id(part): part for part in parts})
    for module in plain.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))  # rotary frequencies
    return plain


def _groups(sharded: ShardedPolicy) -> dict[FSDPModule, list[str]]:
    """Return the names of the weights that each module gathers by itself."""
    names = {id(weight): name for name, weight in sharded.named_parameters()}
    groups: dict[FSDPModule, list[str]] = {}
    taken: set[int] = set()
    # innermost first: the policy has those that no layer has
    for module in reversed(list(sharded_modules(sharded))):
        weights = cast(nn.Module, module).parameters()
        own = [w for w in weights if hasattr(w, "device_mesh") and id(w) not in taken]
        taken |= {id(weight) for weight in own}
        groups[module] = [names[id(weight)] for weight in own]
    return groups
