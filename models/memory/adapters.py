"""What LoRA's adapters are as far as memory goes, from shapes alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from torch import nn

from models.architecture import QwenVL
from models.lora.targets import lora_parameters, target_names


@dataclass(frozen=True)
class AdapterSizes:
    """Adapters of one rank; a layer's inputs are added up over its layers that have one."""

    parameters: int
    merged: int  # elements of the matrices that they are merged into
    text: int  # inputs of a token in one decoder layer
    tower: int  # inputs of a patch in one vision block

    @property
    def reach_tower(self) -> bool:
        """Whether the vision tower is trained through."""
        return self.tower > 0


def adapter_sizes(model: QwenVL, rank: int, targets: Sequence[str]) -> AdapterSizes | None:
    """Return the sizes of a model's adapters, None for a rank of 0.

    Raises:
        ValueError: as `target_names`.
    """
    if rank == 0:
        return None
    names = target_names(model, targets)
    linears = [(name, cast(nn.Linear, model.get_submodule(name))) for name in names]
    return AdapterSizes(
        parameters=lora_parameters(model, rank, targets),
        merged=sum(linear.weight.numel() for _, linear in linears),
        text=sum(_inputs(linears, "language_model.layers.0.")),
        tower=sum(_inputs(linears, "visual.blocks.0.")),
    )


def _inputs(linears: Sequence[tuple[str, nn.Linear]], layer: str) -> Iterator[int]:
    for name, linear in linears:
        if f".{layer}" in name:
            yield linear.in_features
