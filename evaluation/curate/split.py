"""The kept rows as files in the published format, under the names of the files they came from.

Rows of a file are copied as they stand, into a JSON list whatever held them, so that the families
which read the original read the filtered one.
Phantoms have no file: they get one per modality, whose image paths are those that
``python -m data.phantoms --output-dir DIR`` writes under DIR.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.examples import VQAExample
from data.named import is_phantoms
from data.reading.raw_row import as_json
from data.reading.rows import file_rows
from data.source import row_number
from process.regular import sha256_of


def split_files(
    names: Sequence[str],
    examples: Sequence[VQAExample],
    kept: Sequence[bool],
    checksums: Mapping[str, str],
) -> dict[str, list[Any]]:
    """Return file name -> its kept rows, in their order; files without any are left out.

    Args:
        names: the sources, as --json names them.
        examples: all rows.
        kept: one per example.
        checksums: SHA-256 of each file, also of those that a folder holds, when it was read.

    Raises:
        ValueError: a file was changed since.
    """
    chosen = [example for example, keep in zip(examples, kept, strict=True) if keep]
    if any(map(is_phantoms, names)):
        return _phantom_files(chosen)
    files: dict[str, list[Any]] = {}
    for name, checksum in checksums.items():
        mine = [item for item in chosen if item.source == str(Path(name))]
        if mine:
            if sha256_of(name) != checksum:
                raise ValueError(
                    f"{name} was changed while its rows were sampled: restore it and start the same"
                    " command again, nothing is sampled twice"
                )
            numbers = {row_number(item) for item in mine}
            rows = enumerate(file_rows(Path(name)))
            kept_rows = [as_json(row.value) for number, row in rows if number in numbers]
            stem = mine[0].id.rpartition("-")[0]  # of a file in a folder, with its place there
            files[f"{stem.replace('/', '-')}.json"] = kept_rows
    return files


def check_sources(names: Sequence[str]) -> None:
    """Raise ValueError where phantoms and files are named together: their names would clash."""
    if len({is_phantoms(name) for name in names}) > 1:
        raise ValueError(f"--json {' '.join(names)}: curate phantoms and files apart")


def _phantom_files(examples: Sequence[VQAExample]) -> dict[str, list[Any]]:
    from data.phantoms.export import published_row

    files: dict[str, list[Any]] = {}
    for example in examples:
        files.setdefault(f"{example.modality}_train.json", []).append(published_row(example))
    return files
