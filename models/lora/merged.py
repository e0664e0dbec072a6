"""A plain policy whose adapted layers hold merged weights: what decodes, and what is saved whole.

Only the adapted matrices exist twice; embeddings, norms, biases and all other weights are the
trained policy's own tensors. The merged ones are written in place, so that CUDA graphs, which hold
addresses, serve every rollout. Beside the policy they cost

    sum over adapted layers of out x in, in the working dtype

Merging is done in float32 and rounded once. In half precision the sampler's weights are then
rounded where the update adds what the adapter gives to a product: the two differ by rounding, as
two matrix products of other shapes do (docs/lora.md).
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import nn

from models.architecture import QwenVL
from models.lora.adapters import adapter_layers, merged_weight
from models.policy import Policy


class MergedPolicy(Policy):
    """A plain policy whose weights are another one's, its adapters merged."""

    trained: tuple[Policy]  # that one, in a tuple: it is no part of this module


class MergedCopy:
    """A `DecodingCopy`: a plain policy that is merged anew when adapters have moved."""

    def __init__(self, trained: Policy) -> None:
        """Keep the policy that has the adapters; memory is taken when the copy is wanted."""
        self._trained = (trained,)
        self._merged: dict[int, nn.Linear] = {}  # by the adapted layer's id
        self._policy: MergedPolicy | None = None
        self._is_stale = True

    def policy(self) -> Policy:
        """Return the plain policy, its weights those of the adapters as they are now."""
        (trained,) = self._trained
        layers = adapter_layers(trained.model).values()
        if self._policy is None:
            self._merged = {id(layer): plain_linear(layer) for layer in layers}
            self._policy = merged_like(trained, self._merged)
            self._is_stale = True
        if self._is_stale:
            with torch.no_grad():
                for layer in layers:
                    self._merged[id(layer)].weight.copy_(merged_weight(layer))
            self._is_stale = False
        self._policy.feature_cache = trained.feature_cache
        self._policy.decode_graphs = trained.decode_graphs
        return self._policy

    def weights_moved(self) -> None:
        """Note that the adapters are others now."""
        self._is_stale = True

    def free(self) -> None:
        """Give back the merged matrices, and what CUDA graphs hold beside them."""
        self._policy, self._merged = None, {}


def merged_like(trained: Policy, merged: Mapping[int, nn.Module]) -> MergedPolicy:
    """Return a plain policy of a trained one's own weights, other layers in adapted ones' places.

    Args:
        trained: with adapters.
        merged: id of an adapted layer -> what stands for it.
    """
    model = cast(QwenVL, plain_copy(trained.model, merged.get))
    del model.__dict__["peft_config"]  # of a model with adapters
    policy = MergedPolicy(model, trained.processor, trained.path).train()
    policy.trained = (trained,)
    policy.gradient_checkpointing = False  # it never has a gradient
    return policy


def plain_linear(layer: Any) -> nn.Linear:
    """Return a linear layer like the adapted one, with its bias and a weight of its own."""
    base: nn.Linear = layer.base_layer
    plain = nn.Linear(base.in_features, base.out_features, bias=False, device="meta")
    plain.weight = nn.Parameter(torch.empty_like(base.weight), requires_grad=False)
    plain.bias = base.bias
    return plain


def plain_copy(module: nn.Module, replaced: Callable[[int], nn.Module | None]) -> nn.Module:
    """Return a module of the same parameters and buffers, some of its parts replaced.

    Args:
        module: is left as it is.
        replaced: id of a part -> what stands for it, or None.
    """
    if (other := replaced(id(module))) is not None:
        return other
    twin = copy.copy(module)
    # The tables are the module's own, and the copy shares them until it has others.
    for table in ("_parameters", "_buffers"):
        twin.__dict__[table] = dict(cast(Mapping[str, Any], module.__dict__[table]))
    twin.__dict__["_modules"] = {
        name: None if part is None else plain_copy(part, replaced)
        for name, part in module._modules.items()
    }
    return twin
