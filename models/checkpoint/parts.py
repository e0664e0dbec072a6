"""Tensors in files of at most PART bytes, each process writing the rows that it has.

    optimizer.safetensors                        one process, one file: nothing else
    optimizer-00001-of-00003.safetensors, ..     several files, whoever wrote them, and
    optimizer.safetensors.index.json             which rows of which tensor stand in which of them

    {"metadata": {"total_size": 26507800000},
     "tensors": {"exp_avg/..": {"dtype": "F32", "shape": [152064, 3584],
                                "pieces": [["optimizer-00001-of-00003.safetensors", 0, 139508],
                                           ["optimizer-00002-of-00003.safetensors", 139508, 12556]]
                                }, ..}}

A piece is a file, the first of its rows, and their number. A file has a tensor's rows under the
tensor's own name. That of a number is `["..", 0, 1]`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import PurePosixPath
from typing import Any

from torch import Tensor

from models.checkpoint import tensor_file
from models.checkpoint.tensor_file import dtype_name


@dataclass(frozen=True)
class Piece:
    """Rows of a tensor that follow each other."""

    name: str  # of the tensor
    first: int  # row
    shape: tuple[int, ...]  # of the whole tensor
    values: Tensor

    @property
    def rows(self) -> int:
        """How many they are; a number, which has no rows, counts as one."""
        return len(self.values) if self.values.dim() else 1


def in_parts(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Return the pieces in their order, as many together as PART bytes hold; larger ones are cut.

    A single row is never cut, whatever its size. No part holds two pieces of one tensor: what is
    left free beside one is less than a row of it.
    """
    parts: list[list[Piece]] = []
    free = 0
    for piece in pieces:
        for cut in _cut(piece, tensor_file.PART):
            size = cut.values.nbytes
            if size > free or not parts:
                parts.append([])
                free = tensor_file.PART
            parts[-1].append(cut)
            free -= size
    return parts


def part_names(stem: str, before: int, count: int, total: int) -> list[str]:
    """Return the names of ``count`` files behind ``before`` others, of ``total`` in all.

    >>> part_names("optimizer", 1, 2, 3)[0]
    'optimizer-00002-of-00003.safetensors'
    """
    return [f"{stem}-{before + i + 1:05d}-of-{total:05d}.safetensors" for i in range(count)]


def entries_of(parts: Mapping[str, Sequence[Piece]]) -> dict[str, Any]:
    """Return what an index says of these parts; of one process, for `merged`.

    Args:
        parts: by the names of their files.
    """
    found: dict[str, Any] = {}
    for name, pieces in parts.items():
        file = PurePosixPath(name).name  # they lie beside the index
        for piece in pieces:
            empty = {
                "dtype": dtype_name(piece.values.dtype),
                "shape": list(piece.shape),
                "pieces": [],
            }
            found.setdefault(piece.name, empty)["pieces"].append([file, piece.first, piece.rows])
    return found


def merged(entries: Iterable[Mapping[str, Any]], total_size: int) -> dict[str, Any]:
    """Return the index of all processes' parts.

    Args:
        entries: of each process, in the ranks' order, as `entries_of` returns them.
        total_size: bytes of all files.
    """
    tensors: dict[str, Any] = {}
    for entry in entries:
        for name, facts in entry.items():
            known = tensors.setdefault(name, {**facts, "pieces": []})
            known["pieces"] += facts["pieces"]
    return {"metadata": {"total_size": total_size}, "tensors": tensors}


def _cut(piece: Piece, most: int) -> Iterator[Piece]:
    """Yield a piece, in several of at most so many bytes where it is larger."""
    if piece.values.nbytes <= most or piece.values.dim() == 0:
        yield piece
        return
    row = prod(piece.values.shape[1:]) * piece.values.element_size()
    count = max(1, most // row)
    for first in range(0, piece.rows, count):
        values = piece.values[first : first + count]
        yield replace(piece, first=piece.first + first, values=values)
