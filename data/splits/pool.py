"""The rows of all files in one pool, exact copies dropped, each known by its content."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data.audit.audited import AuditFile
from data.examples import VQAExample
from data.reading.bad_rows import BadRow
from data.reading.raw_row import as_json
from data.reading.rows import file_rows
from data.source import row_number


@dataclass(frozen=True)
class PoolRow:
    """One row: what it says, what was published, and where it belongs."""

    example: VQAExample
    raw: dict[str, Any]  # as published
    slice: str  # the file's modality or question type, else its name without _train, _test
    key: str  # digest of the content: the same in whichever file, at whichever place


@dataclass(frozen=True)
class Pool:
    """Rows in the order of their ids, and what was left out on the way in."""

    rows: list[PoolRow]
    bad_rows: list[BadRow]
    repeated: Counter[str]  # slice -> exact copies of an earlier row
    axis: str  # what the slices are: modality, question type or other


def pool_of(files: Sequence[AuditFile], *, allow_unpaired: bool = False) -> Pool:
    """Return the rows of all files; nothing in it depends on the files' order.

    Raises:
        ValueError: files of both axes, or a train or test file without its partner (unless it is
            the only file, or ``allow_unpaired``).
    """
    axes = sorted({file.axis for file in files} - {"other"})
    if len(axes) > 1:
        raise ValueError(
            "the files are of two axes, modality and question type, which hold the same rows: split"
            " one axis at a time"
        )
    if len(files) > 1 and not allow_unpaired:
        _check_partners(files)
    rows: list[PoolRow] = []
    repeated: Counter[str] = Counter()
    seen = set()
    for file in sorted(files, key=lambda file: file.name):
        numbers = set(map(row_number, file.examples))
        raws = {n: row.value for n, row in enumerate(file_rows(file.path)) if n in numbers}
        for example, images in zip(file.examples, file.images, strict=True):
            key = _content_key(file.label, example, images)
            if key in seen:
                repeated[file.label] += 1
                continue
            seen.add(key)
            raw = as_json(raws[row_number(example)])
            rows.append(PoolRow(example, raw, file.label, key))
    bad_rows = [row for file in files for row in file.bad_rows]
    return Pool(rows, bad_rows, repeated, axes[0] if axes else "other")


def _check_partners(files: Sequence[AuditFile]) -> None:
    parts: dict[str, set[str]] = {}
    for file in files:
        parts.setdefault(file.label, set()).add(file.part)
    for file in sorted(files, key=lambda file: file.name):
        other = {"train": "test", "test": "train"}.get(file.part)
        if other is not None and other not in parts[file.label]:
            raise ValueError(
                f"{file.path.name} has no partner: add {file.subject}_{other}.json, or split what"
                " is there with --allow-unpaired"
            )


def _content_key(slice_name: str, example: VQAExample, images: tuple[str, ...]) -> str:
    fields: tuple = (slice_name, images, example.question, example.options, example.answer)
    # what few rows have is no part of the others' keys, which draw published splits
    rest = (
        example.system,
        example.accepted,
        example.absolute_tolerance,
        example.relative_tolerance,
    )
    fields += (rest,) if any(rest) else ()
    return hashlib.blake2b(repr(fields).encode(), digest_size=16).hexdigest()
