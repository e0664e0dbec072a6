"""What adapters a model gets; without torch, so that settings are checked before it is imported."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LoraSettings:
    """Rank, scale and places: y = W x + alpha / rank B A x (models/lora/adapters.py)."""

    rank: int
    alpha: int
    targets: tuple[str, ...]  # as models/lora/targets.py has them
