"""A simulation as tables."""

from collections.abc import Sequence

from models.memory import PARTS
from process.tables.value import Table, columns_of
from scripts.scale.communication import Traffic, sampled_bytes
from scripts.scale.shards import Unit
from scripts.scale.simulation import Simulation


def model(found: Simulation) -> Table:
    """Return what is trained, and what one process has of a step."""
    work, settings = found.work, found.settings
    rows = [
        ["weights", f"{found.parameters:,}"],
        ["whole copy in bfloat16, to decode from", _size(found.decoding_copy)],
        ["GPU", f"{settings.card.name}, {settings.card.per_node} to a node"],
        ["prompts of one GPU and step", f"{work.N}"],
        ["completions of each", f"{work.G}"],
        ["tokens of a prompt, its image among them", f"{work.P}"],
        ["tokens of a completion", f"{work.C}"],
        ["micro-batches", f"{work.micro_batches}"],
    ]
    note = ""
    if not found.copy_fits:
        note = (
            "The copy does not fit the card: decoding as it is built here is not possible. What"
            " follows is what it would take if it did (docs/scaling.md)."
        )
    heads = ["", ""]
    return Table(columns_of(heads), rows, f"Model and step: {settings.model}", note)


def shards(found: Simulation) -> Table:
    """Return who holds how many numbers of which unit."""
    spread, world = found.shards, found.gpus
    blocks = spread.blocks
    kinds = [("decoder layer", blocks[: spread.layers]), ("vision block", blocks[spread.layers :])]
    kinds += [("embeddings, head, the rest", (spread.root,))]
    rows = [_unit_row(name, units, world) for name, units in kinds if units]
    largest, smallest = spread.largest_and_smallest(world)
    rows.append(["all", "", f"{spread.sharded:,}", f"{largest:,}", f"{smallest:,}"])
    if spread.whole:
        rows.append(["frozen tower, whole", "1", f"{spread.whole:,}", *[f"{spread.whole:,}"] * 2])
    return Table(
        columns_of(["unit", "how many", "numbers", "first rank", "last rank"]),
        rows,
        f"Shards over {world} GPUs",
        "Every tensor is cut by rows into equal pieces, the last ones shorter or empty: the first"
        " rank has most. Numbers of a unit are of one; master, moments and gradient are 4 bytes"
        " each.",
    )


def _unit_row(name: str, units: Sequence[Unit], world: int) -> list[str]:
    one = units[0]
    held = [f"{one.held(world, rank):,}" for rank in (0, world - 1)]
    return [name, f"{len(units)}", f"{one.numbers:,}", *held]


def communication(found: Simulation) -> Table:
    """Return what a step sends."""
    sent, world = found.sent, found.gpus
    named = [
        ("gathering weights, forward", sent.forward),
        ("gathering weights, backward", sent.backward),
        ("adding up gradients", sent.reductions),
        ("the copy that decodes", sent.sampler),
        ("gathering the reference", sent.reference),
        ("all", sent.total),
    ]
    rows = [_traffic_row(name, traffic, world) for name, traffic in named]
    rows.append(["completions, over CPUs", "", "", _size(sampled_bytes(found.work, world))])
    return Table(
        columns_of(["what for", "collectives", "carried", "sent by a GPU"]),
        rows,
        "Communication of a step",
    )


def _traffic_row(name: str, traffic: Traffic, world: int) -> list[str]:
    return [name, f"{traffic.calls:,}", _size(traffic.carried), _size(traffic.sent(world))]


def memory(found: Simulation) -> Table:
    """Return what one GPU needs, largest parts first."""
    needed, card = found.memory, found.settings.card
    parts = sorted(needed.at_peak.items(), key=lambda part: -part[1])
    rows = [[PARTS[name], _size(size)] for name, size in parts]
    rows += [["all", _size(needed.total)], [f"{card.name} has", _size(card.memory)]]
    return Table(
        columns_of(["", ""]),
        rows,
        f"Memory of a GPU at its fullest ({needed.peak})",
        "By the estimator of train.py, from shapes alone"
        + (": more than the card has." if needed.total > card.memory else "."),
    )


def seconds(found: Simulation) -> Table:
    """Return what a step takes and computes."""
    time, flops = found.time, found.flops
    rows = [
        ["prompts", _seconds(time.prompts), _flops(flops.prompts), ""],
        ["decoding", _seconds(time.decode), _flops(flops.decode), ""],
        ["gathering the copy", _seconds(time.sampler), "", _seconds(time.sampler)],
        [
            *("reference", _seconds(time.reference), _flops(flops.reference)),
            _seconds(time.reference_network),
        ],
        [
            *("update", _seconds(time.update), _flops(flops.update + flops.recomputed)),
            _seconds(time.update_network),
        ],
        ["AdamW", _seconds(time.adamw), "", ""],
        ["all", _seconds(time.total), _flops(flops.total), ""],
    ]
    return Table(
        columns_of(["phase", "seconds", "TFLOP of a GPU", "network's seconds"]),
        rows,
        "Time of a step",
        f"{time.tokens_per_second:,.0f} completion tokens a second on all GPUs; most of the time is"
        f" {time.dominating}. Assumed shares of the peaks: {_shares(found)}. Nothing of this was"
        " measured on a GPU.",
    )


def overview(results: Sequence[Simulation]) -> Table:
    """Return one row for each number of GPUs."""
    rows = []
    for found in results:
        time = found.time
        network = max(time.update_network, 0.0) + time.reference_network + time.sampler
        rows.append(
            [
                f"{found.gpus:,}",
                f"{found.prompts:,}",
                _size(4 * found.shards.held(found.gpus, 0)),
                _size(found.sent.total.sent(found.gpus)),
                *(_seconds(value) for value in (time.rollout, time.reference, time.update)),
                _seconds(network),
                _seconds(time.total),
                f"{time.tokens_per_second:,.0f}",
                time.dominating,
            ]
        )
    heads = ["GPUs", "prompts", "master of a GPU", "sent by a GPU", "rollout", "reference"]
    heads += ["update", "network alone", "step", "tokens a second", "most"]
    return Table(
        columns_of(heads),
        rows,
        "Steps on so many GPUs",
        f"Seconds at best, {results[0].settings.card.name}; assumed shares of the peaks:"
        f" {_shares(results[0])}. Nothing of this was measured on a GPU.",
    )


def _shares(found: Simulation) -> str:
    shares = found.settings.shares
    return (
        f"matrix units {shares.compute:g}, memory {shares.bandwidth:g}, network {shares.network:g},"
        f" {shares.hop_seconds * 1e6:g} microseconds a hop"
    )


def _size(num_bytes: float) -> str:
    """Return bytes in units of 1e9, with as many digits as tell something.

    >>> _size(147e9), _size(2.5e9), _size(3e6)
    ('147 GB', '2.50 GB', '0.003 GB')
    """
    value = num_bytes / 1e9
    digits = 0 if value >= 100 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f} GB"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 or value == 0 else f"{value:.4f}"


def _flops(operations: int) -> str:
    return f"{operations / 1e12:,.1f}"
