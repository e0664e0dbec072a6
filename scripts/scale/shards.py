"""How FSDP2 spreads a model over processes: which weights travel together, who holds which rows.

As models/sharding/shard.py wraps a policy: one unit for each decoder layer, one for each vision
block where the tower is trained, and the root with all that is left. A frozen tower stays whole in
every process.

FSDP2 cuts every tensor by its rows, its first dimension, as `torch.chunk` does: pieces of
ceil(rows / W) rows, the last ones shorter or empty. Collectives carry equal pieces, so what they
carry is padded to W times the first one's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import cast

from torch import nn

from models.architecture import QwenVL


@dataclass(frozen=True)
class Unit:
    """Weights that are gathered, and whose gradients are added up, in one collective."""

    name: str
    shapes: tuple[tuple[int, ...], ...]

    @property
    def numbers(self) -> int:
        """How many numbers its weights have."""
        return sum(prod(shape) for shape in self.shapes)

    def carried(self, world: int) -> int:
        """Return how many numbers a gathering of all its pieces carries, padding included."""
        return sum(world * piece(shape[0], world) * prod(shape[1:]) for shape in self.shapes)

    def held(self, world: int, rank: int) -> int:
        """Return how many of its numbers a process holds."""
        return sum(len(rows(shape[0], world, rank)) * prod(shape[1:]) for shape in self.shapes)


@dataclass(frozen=True)
class Shards:
    """A model that is spread over processes."""

    units: tuple[Unit, ...]  # decoder layers, vision blocks, the root
    layers: int  # how many of them are decoder layers
    whole: int = 0  # numbers of a frozen tower, which every process has

    @property
    def sharded(self) -> int:
        """How many numbers are spread."""
        return sum(unit.numbers for unit in self.units)

    @property
    def root(self) -> Unit:
        """What no layer and no block has: embeddings, head, last norm; of the tower the merger."""
        return self.units[-1]

    @property
    def blocks(self) -> tuple[Unit, ...]:
        """All units but the root: decoder layers, then vision blocks."""
        return self.units[:-1]

    def held(self, world: int, rank: int) -> int:
        """Return how many numbers of the sharded weights a process holds."""
        return sum(unit.held(world, rank) for unit in self.units)

    def largest_and_smallest(self, world: int) -> tuple[int, int]:
        """Return what the first process and the last one hold: nobody has more, nobody less."""
        return self.held(world, 0), self.held(world, world - 1)


def piece(count: int, world: int) -> int:
    """Return how many rows a whole piece has."""
    return -(-count // world)


def rows(count: int, world: int, rank: int) -> range:
    """Return which of ``count`` rows a process holds.

    >>> [list(rows(5, 4, rank)) for rank in range(4)]
    [[0, 1], [2, 3], [4], []]
    """
    size = piece(count, world)
    return range(min(rank * size, count), min((rank + 1) * size, count))


def shards_of(model: QwenVL, *, frozen_vision: bool = False) -> Shards:
    """Return how a model, which may lie on meta, is spread."""
    layers = list(cast(Iterable[nn.Module], model.model.language_model.layers))
    tower = model.model.visual
    blocks = [] if frozen_vision else list(cast(Iterable[nn.Module], tower.blocks))
    units = [_unit(f"layer {number}", layer) for number, layer in enumerate(layers)]
    units += [_unit(f"block {number}", block) for number, block in enumerate(blocks)]
    taken = {id(weight) for module in (*layers, *blocks) for weight in module.parameters()}
    frozen = list(tower.parameters()) if frozen_vision else []
    taken |= {id(weight) for weight in frozen}
    units.append(Unit("root", tuple(_shapes(model, taken))))
    return Shards(tuple(units), len(layers), sum(weight.numel() for weight in frozen))


def _unit(name: str, module: nn.Module) -> Unit:
    return Unit(name, tuple(_shapes(module, set())))


def _shapes(module: nn.Module, taken: set[int]) -> Iterator[tuple[int, ...]]:
    # parameters() yields a tied embedding once
    for weight in module.parameters():
        if id(weight) not in taken:
            yield tuple(weight.shape)
