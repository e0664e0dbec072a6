"""The directory of a split: <slice>_train.json, <slice>_test.json and splits.json, or nothing."""

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from data.audit.audited import AuditFile
from data.examples import VQAExample
from data.splits.comparison import AS_GIVEN, NEW, ORIGINAL, Parts, compare_priors, mean_priors
from data.splits.plan import PlacedRow, Settings, SplitPlan, by_slice
from data.splits.proof import prove
from data.splits.published import rows_text
from process.storage import json_text, write_directory

SPLITS_FORMAT = 1
REPEATED = "exact copy of another row"
BAD = "no reading in any published format"


def write_split(
    directory: Path,
    files: Sequence[AuditFile],
    plan: SplitPlan,
    settings: Settings,
    image_root: Path,
) -> dict[str, Any]:
    """Write the files, read them back, add splits.json; returns its content.

    Raises:
        ValueError: the directory cannot be written; nothing is left behind then.
    """
    written = {
        f"{name}_{part}.json": rows
        for name, parts in by_slice(plan).items()
        for part, rows in zip(("train", "test"), parts, strict=True)
        if rows  # the reader takes no empty list
    }
    report: dict[str, Any] = {}

    def finish(folder: Path) -> Mapping[str, Iterable[str]]:
        examples = {name: [row.example for row in rows] for name, rows in written.items()}
        checksums, shared = prove(
            folder, examples, plan.pictures, image_root, patient=settings.disjoint == "patient"
        )
        report.update(_report(files, plan, settings, written, checksums, shared))
        return {"splits.json": [json_text(report, indent=2)]}

    texts = {name: rows_text(row.published for row in rows) for name, rows in written.items()}
    write_directory(directory, texts, what="the split", finish=finish)
    return report


def _report(
    files: Sequence[AuditFile],
    plan: SplitPlan,
    settings: Settings,
    written: Mapping[str, Sequence[PlacedRow]],
    checksums: Mapping[str, str],
    shared: Mapping[str, int],
) -> dict[str, Any]:
    found = compare_priors(_versions(files, plan, settings))
    test = sum(row.in_test for row in plan.placed)
    return {
        "format": SPLITS_FORMAT,
        "settings": {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(settings).items()
        },
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in ("groupwise", "numpy", "pillow")},
        "inputs": {
            file.path.name: {"sha256": file.checksum, "rows": len(file.examples)}
            for file in sorted(files, key=lambda file: file.name)
        },
        "outputs": {
            name: {"sha256": checksums[name], "rows": len(rows)} for name, rows in written.items()
        },
        "rows": {
            "read": sum(len(file.examples) + len(file.bad_rows) for file in files),
            "train": len(plan.placed) - test,
            "test": test,
            "dropped": _dropped(files, plan),
        },
        "test_share": test / len(plan.placed),
        "in_both_parts": dict(shared),
        **plan.facts,
        "strata": _strata(plan),
        "text_priors": found,
        "text_priors_mean": mean_priors(found),
    }


def _dropped(files: Sequence[AuditFile], plan: SplitPlan) -> dict[str, dict[str, int]]:
    """Return reason -> slice -> rows, reasons and slices in the alphabet's order."""
    counts = Counter(plan.dropped)
    counts.update({(name, REPEATED): count for name, count in plan.pool.repeated.items()})
    counts.update({(file.label, BAD): len(file.bad_rows) for file in files if file.bad_rows})
    reasons = sorted({reason for _, reason in counts})
    return {
        reason: {name: counts[name, why] for name, why in sorted(counts) if why == reason}
        for reason in reasons
    }


def _strata(plan: SplitPlan) -> list[dict[str, Any]]:
    """Return train and test rows by slice, task and data set."""
    counts: dict[tuple[str, str, str], list[int]] = {}
    for row in plan.placed:
        place = (row.row.slice, row.task, row.example.dataset)
        counts.setdefault(place, [0, 0])[row.in_test] += 1
    names = ("slice", "task", "dataset")
    return [
        dict(zip(names, place, strict=True)) | {"train": counts[place][0], "test": counts[place][1]}
        for place in sorted(counts)
    ]


def _versions(
    files: Sequence[AuditFile], plan: SplitPlan, settings: Settings
) -> dict[str, dict[str, Parts]]:
    given: dict[str, tuple[list[VQAExample], list[VQAExample]]] = {}
    for file in sorted(files, key=lambda file: file.name):
        if file.part:
            parts = given.setdefault(file.label, ([], []))
            parts[file.part == "test"].extend(file.examples)
    versions: dict[str, dict[str, Parts]] = {AS_GIVEN: dict(given)}
    if settings.image_needed:
        versions[ORIGINAL] = {
            name: ([row.row.example for row in train], [row.row.example for row in test])
            for name, (train, test) in by_slice(plan).items()
        }
    versions[NEW] = {
        name: ([row.example for row in train], [row.example for row in test])
        for name, (train, test) in by_slice(plan).items()
    }
    return versions


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # groupwise, from a clone
        return "not installed"
