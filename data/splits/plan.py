"""From the pool to two parts: what is written, into which part, and what is left out."""

from collections import Counter, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.audit.audited import AuditFile
from data.examples import VQAExample
from data.priors.fitted import chance
from data.reading.labels import official_split
from data.splits.assign import assign
from data.splits.image_needed import image_needed
from data.splits.kept_together import Pictures, groups_of, keys_of, read_pictures, rows_with_patient
from data.splits.pool import Pool, PoolRow, pool_of
from data.splits.published import NOT_INLINE, rewritten_row
from data.splits.tasks import tasks_of


@dataclass(frozen=True)
class Settings:
    """What the command was asked for."""

    image_root: Path | None = None
    disjoint: str = "image"  # or "patient"
    test_share: float = 0.2
    seed: int = 0
    image_needed: bool = False
    near_distance: int = 4
    allow_unpaired: bool = False
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlacedRow:
    """A row to write: the published one, the example that it must read back as, and its part."""

    row: PoolRow
    example: VQAExample
    published: dict[str, Any]
    task: str
    in_test: bool


@dataclass(frozen=True)
class SplitPlan:
    """All rows to write in the order of their ids, and what to say about the others."""

    placed: list[PlacedRow]
    pool: Pool
    pictures: Pictures
    dropped: Counter[tuple[str, str]]  # (slice, reason) -> rows
    facts: dict[str, Any] = field(default_factory=dict)


def make_plan(files: list[AuditFile], settings: Settings) -> SplitPlan:
    """Return which row goes where.

    Raises:
        ValueError: see `pool_of`, `groups_of`, `read_pictures`; the groups leave a part empty.
    """
    pool = pool_of(files, allow_unpaired=settings.allow_unpaired)
    originals = [row.example for row in pool.rows]
    pictures = Pictures()
    if settings.image_root is not None:
        pictures = read_pictures(originals, settings.image_root, settings.near_distance)
    tasks, ways = tasks_of(originals)
    kept, dropped, facts = _texts(pool, tasks, pictures, settings)
    patient = settings.disjoint == "patient"
    groups = groups_of([kept[number][0] for number in kept], pictures, patient=patient)
    numbers = list(kept)
    in_test = assign(
        groups,
        [_strata(pool.rows[n], tasks[n], kept[n][0]) for n in numbers],
        [pool.rows[n].key for n in numbers],
        test_share=settings.test_share,
        seed=settings.seed,
    )
    sizes = sorted(map(len, groups), reverse=True)
    if len(set(in_test)) < 2:
        raise ValueError(
            f"{len(numbers):,} rows in {len(groups):,} groups, the largest of {sizes[0]:,}, leave a"
            f" part empty at --test-share {settings.test_share}: pass more rows, another share, or"
            " a smaller --near-distance"
        )
    placed = [
        PlacedRow(pool.rows[n], *kept[n], tasks[n], test)
        for n, test in zip(numbers, in_test, strict=True)
    ]
    facts |= {
        "tasks": {"how": ways, "rows": dict(sorted(Counter(p.task for p in placed).items()))},
        "groups": {"count": len(groups), "largest": sizes[:5]},
        "rows_with_patient": rows_with_patient([p.example for p in placed]),
        "images_missing": len(pictures.hashes.missing),
        "images_broken": len(pictures.hashes.broken),
    }
    if official := Counter(filter(None, (official_split(row.raw) for row in pool.rows))):
        facts["official_split"] = dict(sorted(official.items()))
    return SplitPlan(placed, pool, pictures, dropped, facts)


Kept = dict[int, tuple[VQAExample, dict[str, Any]]]  # row -> example, published row


def _texts(
    pool: Pool, tasks: list[str], pictures: Pictures, settings: Settings
) -> tuple[Kept, Counter[tuple[str, str]], dict[str, Any]]:
    """Return the rows to write with their text, those dropped by slice and reason, and facts."""
    examples = {number: row.example for number, row in enumerate(pool.rows)}
    dropped: Counter[tuple[str, str]] = Counter()
    facts: dict[str, Any] = {}
    if settings.image_needed:
        originals = list(examples.values())
        keys = keys_of(originals, Pictures(pictures.hashes))  # a near-duplicate is no proof
        variant = image_needed(pool.rows, tasks, keys, seed=settings.seed)
        examples = variant.examples
        dropped.update((pool.rows[n].slice, reason) for n, reason in variant.dropped.items())
        facts["image_needed"] = {
            "rows_with_fewer_options": variant.fewer_options,
            "rows_with_distractors_of_another_data_set": variant.from_slice,
        }
    kept: Kept = {}
    for number, example in examples.items():
        published = rewritten_row(pool.rows[number], example)
        if published is None:
            dropped[pool.rows[number].slice, NOT_INLINE] += 1
        else:
            kept[number] = example, published
    if not kept:
        raise ValueError(
            f"none of the {len(pool.rows):,} rows is left to write"
            f" ({', '.join(sorted({reason for _, reason in dropped}))}): pass other files, or leave"
            " --image-needed away"
        )
    if settings.image_needed:
        facts["image_needed"] |= {
            "chance_as_published": chance([originals[number] for number in kept]),
            "chance": chance([example for example, _ in kept.values()]),
        }
    return kept, dropped, facts


def _strata(row: PoolRow, task: str, example: VQAExample) -> list[Hashable]:
    """Return what is to have its share, from coarse to fine."""
    place = (row.slice, task, example.dataset)
    return [
        "all",
        ("slice", row.slice),
        ("task", *place[:2]),
        ("data set", *place),
        ("answer", *place, example.answer_text),
        ("letter", row.slice, example.answer),
    ]


def by_slice(plan: SplitPlan) -> dict[str, tuple[list[PlacedRow], list[PlacedRow]]]:
    """Return slice -> (train, test) rows in the order of their ids."""
    slices: dict[str, tuple[list[PlacedRow], list[PlacedRow]]] = defaultdict(lambda: ([], []))
    for placed in plan.placed:
        slices[placed.row.slice][placed.in_test].append(placed)
    return {name: slices[name] for name in sorted(slices)}
