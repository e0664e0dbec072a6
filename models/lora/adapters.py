"""Adapters put beside a model's linear layers, switched off, and merged: all that touches peft's.

    y = W x + s B A x        W (out, in) stays as it is; A (rank, in) and B (out, rank) are trained

Source: LoRA, arXiv:2106.09685, section 4.1; s = alpha / rank. B begins at 0, so that an adapter
begins as the model without it; A is drawn as in peft. Adapters are float32 whatever W is: they are
their own masters, and peft computes what they add in float32 and rounds the sum.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from models.architecture import QwenVL
from models.lora.library import peft
from models.lora.settings import LoraSettings
from models.lora.targets import target_names

NAME = "default"  # peft's for the one adapter of a model
KINDS = ("lora_A", "lora_B")


def add_adapters(
    model: QwenVL, settings: LoraSettings, *, seed: int, freeze_vision: bool = False
) -> Any:
    """Put adapters beside a model's layers, freeze all else; return peft's config of them.

    Args:
        model: transformers' own, on its device and in its dtype.
        settings: rank, alpha and targets.
        seed: of the first A; the numbers depend on nothing else but the sizes.
        freeze_vision: refuse adapters in the vision tower.

    Raises:
        ValueError: peft is not installed, or the targets are none of this model.
    """
    names = target_names(model, settings.targets, freeze_vision=freeze_vision)
    config = peft().LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, target_modules=names, lora_dropout=0.0
    )
    inject(model, config)
    generator = torch.Generator().manual_seed(seed)
    for layer in adapter_layers(model).values():
        first, second = (matrix(layer, kind) for kind in KINDS)
        # Drawn here, on the CPU and in float32: peft draws from the global generator.
        drawn = torch.empty(first.shape)
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
        with torch.no_grad():
            first.copy_(drawn)
            second.zero_()
    return config


def inject(model: QwenVL, config: Any) -> None:
    """Put the float32 adapters of peft's config into a model; every other weight is frozen."""
    with torch.random.fork_rng(devices=[]):  # peft draws numbers that are not kept
        peft().inject_adapter_in_model(config, model)
    for layer in adapter_layers(model).values():
        for kind in KINDS:
            adapter = matrix(layer, kind)
            adapter.data = adapter.data.float()


def adapter_layers(model: nn.Module) -> dict[str, Any]:
    """Return the layers that have an adapter, by name, in the model's order."""
    kind = peft().tuners.lora.Linear
    return {name: module for name, module in model.named_modules() if isinstance(module, kind)}


def matrix(layer: Any, kind: str) -> nn.Parameter:
    """Return A or B of a layer, by peft's name."""
    return getattr(layer, kind)[NAME].weight


def merged_weight(layer: Any, weight: Tensor | None = None) -> Tensor:
    """Return W + s B A of a layer, (out, in) in float32.

    Args:
        layer: with its adapter.
        weight: W, where it is not the layer's own.
    """
    base = layer.base_layer.weight if weight is None else weight
    first, second = (matrix(layer, kind).detach() for kind in KINDS)
    return torch.addmm(base.detach().float(), second, first, alpha=layer.scaling[NAME])


@contextmanager
def switched_off(layers: Sequence[Any]) -> Iterator[None]:
    """Run the layers without their adapters; their weights are the model's own, to the bit."""
    # Not peft's `enable_adapters`: it also takes requires_grad from every adapter, which FSDP notes
    # when it first gathers them.
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


def adapter_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return A and B of every layer, by the names that peft's files have."""
    return {
        f"base_model.model.{name}.{kind}.weight": matrix(layer, kind).detach()
        for name, layer in adapter_layers(model).items()
        for kind in KINDS
    }


def set_adapter_tensors(model: QwenVL, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by the names of peft's files into a model's adapters.

    Raises:
        ValueError: one is missing, is of another shape, or belongs to no layer of this model.
    """
    library = peft()
    try:
        report = library.set_peft_model_state_dict(model, _without_prefix(tensors))
    except RuntimeError as error:  # torch's, of shapes
        raise ValueError(f"tensors of another shape than the model's layers ({error})") from error
    missing = [name for name in report.missing_keys if any(kind in name for kind in KINDS)]
    if missing or report.unexpected_keys:
        names = [*missing, *report.unexpected_keys]
        raise ValueError(
            f"{len(missing)} tensors are missing and {len(report.unexpected_keys)} belong to no"
            f" layer of this model, for example {', '.join(names[:3])}"
        )


def _without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("base_model.model."): tensors[name] for name in tensors}
