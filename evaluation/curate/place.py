"""The directory of a curation: a new one, or one that it was begun in. Nothing imports torch.

settings.json, passes.jsonl   what is sampled, row by row: an interrupted run goes on from here
curate.jsonl                  per row: counts, the prior's choice, reasons, kept or not
split/<name>.json             the kept rows in the published format
summary.json                  what the filter does; written last: a finished curation has it
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.answers.identity import CurationIdentity
from evaluation.curate.pass_counts import PassesFile
from evaluation.curate.reasons import CuratedRow
from process.disk import make_folder
from process.leftovers import contents
from process.places import check_can_be_made
from process.ranks import world
from process.regular import read_text
from process.shown import shown_json
from process.signals import held
from process.storage import json_text, replacing, write_json, write_text

SETTINGS = "settings.json"  # what a curation was begun with


def check_place(directory: Path) -> None:
    """Raise a ValueError for a directory that holds something, and no curation to go on with."""
    if (directory / "summary.json").exists():
        raise ValueError(
            f"output directory {directory} holds a finished curation: name another --output-dir"
        )
    if (directory / SETTINGS).exists():
        return
    if directory.exists() and (not directory.is_dir() or contents(directory)):
        raise ValueError(
            f"output directory {directory} holds something else: name another --output-dir"
        )
    check_can_be_made(directory)


def open_place(directory: Path, identity: CurationIdentity, ids: Sequence[str]) -> PassesFile:
    """Return the rows that an earlier, interrupted run has sampled; make a new directory.

    Of several processes the first does; to the others nothing is sampled.

    Args:
        directory: new, empty, or one that the same settings began.
        identity: what decides what is sampled.
        ids: of all rows, in their order.

    Raises:
        ValueError: the directory holds something else, a finished run, or one of other settings;
            what stands there is left alone.
    """
    rows = directory / "passes.jsonl"
    if not world().is_first:
        return PassesFile(rows, ids, is_looked_at=False)
    check_place(directory)
    file = directory / SETTINGS
    if not file.exists():
        with held():  # a folder without it would be taken for somebody else's
            make_folder(directory)
            write_json(file, identity.to_json())
    elif difference := identity.difference(_read_settings(file)):
        raise ValueError(
            f"{directory} was begun with another {difference.name}: run it again as it was begun,"
            " or name another --output-dir"
        )
    return PassesFile(rows, ids)


def write_curation(
    directory: Path,
    rows: Iterable[CuratedRow],
    files: Mapping[str, Sequence[Any]],
    summary: Mapping[str, Any],
) -> None:
    """Write what was found; summary.json last, so that it says that all is there.

    Args:
        directory: of the curation.
        rows: lines of curate.jsonl.
        files: name -> rows of the split, in the published format.
        summary: what the filter does.
    """
    with replacing(directory / "split", to_disk=True, over_folder=True) as split:
        split.mkdir()
        for name, kept in files.items():
            text = shown_json(json.dumps(kept, indent=1, ensure_ascii=False)) + "\n"
            (split / name).write_text(text, encoding="utf-8")
    lines = (json_text(row.to_json()) for row in rows)
    write_text(directory / "curate.jsonl", "".join(lines))
    write_json(directory / "summary.json", summary)


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(read_text(file)))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"{file} cannot be read ({error}): remove its directory to begin anew"
        ) from error
