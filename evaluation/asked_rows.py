"""The questions of an evaluation: read, checked against how they will be asked, and sampled."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from data.examples import VQAExample
from data.sample import spread_sample
from data.source import Part
from data.sources import Split, Wanted, load_splits
from evaluation.asking.preflight import Preflight, tell_skipped
from evaluation.asking.prompt_check import PromptCheck


@dataclass(frozen=True)
class AskedRows:
    """Rows that are put to a model, and what identifies them."""

    name: str  # of its column, where it is one of several
    sources: tuple[str, ...]
    split: Split  # all rows that can be asked
    examples: Sequence[VQAExample]  # those that are
    limit: int | None
    seed: int

    @property
    def checksums(self) -> Mapping[str, str]:
        """Of the sources, by name."""
        return self.split.checksums

    @property
    def skipped_rows(self) -> int:
        """How many rows were left out."""
        return len(self.split.bad_rows)

    @property
    def only(self) -> tuple[str, ...]:
        """FIELD=VALUE, which rows were read; none: all."""
        return self.split.only.texts

    def to_json(self) -> dict[str, Any]:
        """What summary.json says of it."""
        names = ("skipped_rows", "limit", "seed", "only")
        return {"checksums": dict(self.checksums)} | {name: getattr(self, name) for name in names}


def load_asked_rows(
    name: str,
    sources: Sequence[str],
    preflight: Preflight,
    *,
    image_root: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    skip_bad_rows: bool = False,
    only: Sequence[str] = (),
    left_out: Mapping[str, Collection[int]] | None = None,
    part: Part = "eval",
) -> AskedRows:
    """Return the questions of some sources, every row fit to be asked.

    Without ``skip_bad_rows`` only rows of the sample are looked at; with it, rows that one of the
    models cannot be asked are left out for all, before the sample is drawn.

    Args:
        name: of its column.
        sources: files, ``phantoms``, ``phantoms:CT``, ..
        preflight: finds the rows that cannot be asked.
        image_root: the folder that the rows' image paths start from.
        limit: rows of the sample; None: all.
        seed: of the sample.
        skip_bad_rows: leave out bad rows instead of raising.
        only: FIELD=VALUE, which rows are read.
        left_out: the rows that work under way began without.
        part: of phantoms, whether the held-out questions or those for training.

    Raises:
        ValueError: whatever `load_splits` and `spread_sample` raise.
    """
    sample = partial(spread_sample, limit=limit, seed=seed)
    find_faults = preflight if skip_bad_rows else preflight.of_sample(sample)
    wanted = Wanted(sources, find_faults, left_out)
    parts = load_splits(
        {part: wanted}, image_root=image_root, skip_bad_rows=skip_bad_rows, only=only
    )
    split = parts[part]
    return AskedRows(name, tuple(sources), split, sample(split.examples), limit, seed)


def load_tests(
    tests: Mapping[str, str],
    *,
    image_root: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    skip_bad_rows: bool = False,
    only: Sequence[str] = (),
    checks: Sequence[PromptCheck] = (),
) -> list[AskedRows]:
    """Return the questions of slice name -> source, having said what was left out of each.

    Args:
        checks: how the models are going to be asked; all else is as in `load_asked_rows`.
    """
    preflight = Preflight(checks)
    loaded = []
    for name, source in tests.items():
        test = load_asked_rows(
            name,
            [source],
            preflight,
            image_root=image_root,
            limit=limit,
            seed=seed,
            skip_bad_rows=skip_bad_rows,
            only=only,
        )
        tell_skipped(test.split)
        loaded.append(test)
    return loaded
