"""What the processes of a step send each other: how often, and how much.

W processes, M micro-batches of the one that has most. A unit is a decoder layer, a vision block or
the root (scripts/scale/shards.py); its weights are gathered in the working dtype, its gradients are
added up, and cut, in float32:

    forward      one gathering per unit and micro-batch
    backward     one per layer and block and micro-batch, unless weights are kept in between; one
                 reduction per unit and micro-batch
    sampler      one gathering per unit and step, of the weights that the last update has made
    reference    one gathering per layer and micro-batch, and of its root per step; its tower is
                 frozen, and so whole everywhere

How it is sent: a ring gathering of S bytes in all takes every process S (W - 1) / W to send and as
much to receive, and so does a reduction.
"""

from dataclasses import dataclass, fields

from scripts.scale.shards import Shards, Unit
from scripts.scale.workload import Workload

MASTER_BYTES = 4  # of a gradient on its way


@dataclass(frozen=True)
class Traffic:
    """Collectives of one purpose, and the bytes that they carry, gathered or to be reduced."""

    calls: int = 0
    carried: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.calls + other.calls, self.carried + other.carried)

    def times(self, number: int) -> "Traffic":
        """Return so many of it."""
        return Traffic(number * self.calls, number * self.carried)

    def sent(self, world: int) -> int:
        """Return the bytes that each process sends, and receives."""
        return self.carried * (world - 1) // world


@dataclass(frozen=True)
class Communication:
    """Of one step."""

    forward: Traffic
    backward: Traffic
    reductions: Traffic
    sampler: Traffic
    reference: Traffic

    @property
    def total(self) -> Traffic:
        return sum((getattr(self, field.name) for field in fields(self)), Traffic())


def step_communication(
    shards: Shards,
    frozen: Shards,
    work: Workload,
    world: int,
    *,
    weight_bytes: int = 2,
    keeps: bool = False,
) -> Communication:
    """Return what one step sends.

    Args:
        shards: of the policy.
        frozen: of the same model with a frozen tower, as the reference is spread.
        work: of the process that has most.
        world: W. One process sends nothing.
        weight_bytes: of a number of the working dtype.
        keeps: whether a layer's weights stay from forward to backward.
    """
    if world == 1:
        return Communication(*[Traffic()] * 5)
    gathered = [_carried(unit, world, weight_bytes) for unit in shards.units]
    every, blocks = sum(gathered, Traffic()), sum(gathered[:-1], Traffic())
    reduced = sum((_carried(unit, world, MASTER_BYTES) for unit in shards.units), Traffic())
    batches = work.micro_batches
    return Communication(
        forward=every.times(batches),
        backward=Traffic() if keeps else blocks.times(batches),
        reductions=reduced.times(batches),
        sampler=every,
        reference=_reference(frozen, world, weight_bytes, batches) if work.reference else Traffic(),
    )


def _reference(frozen: Shards, world: int, weight_bytes: int, batches: int) -> Traffic:
    layers = (_carried(unit, world, weight_bytes) for unit in frozen.blocks)
    return sum(layers, Traffic()).times(batches) + _carried(frozen.root, world, weight_bytes)


def _carried(unit: Unit, world: int, number_bytes: int) -> Traffic:
    return Traffic(1, number_bytes * unit.carried(world))


def sampled_bytes(work: Workload, world: int) -> int:
    """Return what all processes learn of each other's completions in a step, through CPU memory.

    Of each token its id (8 bytes), whether it is one (1), log-probability and entropy (4 each).
    """
    return 17 * work.B * work.C * world if world > 1 else 0
