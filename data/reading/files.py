"""The data files that a name means: the file itself, or all of a folder's.

What a file holds is told by its content (rows.py). In a folder, where pictures by the thousand and
a README may lie beside them, those files are taken whose names end as data files' do; hidden ones
and hidden folders are not looked at.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_PACKED = ".gz"


@dataclass(frozen=True)
class DataFile:
    """One file of rows."""

    name: str  # as it was named, or below the folder that was
    stem: str  # what the ids of its rows begin with, see `stem_of`


def data_files(name: str | Path) -> list[DataFile]:
    """Return the file that a name means, or those of a folder and the folders in it, sorted.

    The ids of a folder's rows begin with the file's path below the folder, without its ending: the
    same as where each file is named, if they lie side by side.

    Raises:
        ValueError: a folder without any data file.
    """
    folder = Path(name)
    if not folder.is_dir():
        return [DataFile(str(name), stem_of(name))]
    found = sorted(_below(folder))
    if not found:
        raise ValueError(
            f"the folder {name} holds no data file, whose name ends in {', '.join(ENDINGS)}, or one"
            f" of them and {_PACKED}: name a file, or a folder that holds some"
        )
    return [
        DataFile(str(file), (file.parent / stem_of(file)).relative_to(folder).as_posix())
        for file in found
    ]


def stem_of(path: str | Path) -> str:
    """Return a data file's name without its ending, and without that of a packed one.

    >>> stem_of("splits/CT_test.json"), stem_of("CT_test.json.gz"), stem_of("mini.v2.jsonl")
    ('CT_test', 'CT_test', 'mini.v2')
    """
    name = Path(path).name
    return Path(_unpacked(name) or name).stem


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and _unpacked(name.lower()).endswith(ENDINGS):
                yield Path(place) / name


def _unpacked(name: str) -> str:
    return name[: -len(_PACKED)] if name.lower().endswith(_PACKED) else name
