"""Tensors of a checkpoint, read by rows: from one file, or from the parts that an index names.

Nothing but names, shapes and dtypes is read before somebody asks for rows, so that neither memory
nor time goes into what another process has. What the files are: models/checkpoint/parts.py.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import EllipsisType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models.checkpoint.tensor_file import SLICE, dtype_of
from models.sharding.rows import local_rows
from process.regular import read_text


@dataclass(frozen=True)
class _Stored:
    """Rows of a tensor in one file."""

    file: Any  # open
    name: str
    first: int
    rows: int


@dataclass(frozen=True)
class SavedTensor:
    """A tensor on the disk: `saved[3:5]` reads two of its rows, `saved[...]` a number."""

    dtype: torch.dtype
    shape: torch.Size
    stored: tuple[_Stored, ...]  # in the rows' order, every row once

    def __getitem__(self, rows: slice | EllipsisType) -> Tensor:
        """Return these rows on the CPU."""
        if not self.shape:
            return self.stored[0].file.get_tensor(self.stored[0].name)
        if rows is ...:
            rows = slice(None)
        start, stop, _ = rows.indices(self.shape[0])
        found = []
        for part in self.stored:
            first, last = max(start, part.first), min(stop, part.first + part.rows)
            if first < last:
                there = part.file.get_slice(part.name)
                found.append(there[first - part.first : last - part.first])
        return torch.cat(found) if len(found) != 1 else found[0]


@contextmanager
def saved_tensors(file: Path) -> Iterator[dict[str, SavedTensor]]:
    """Yield the tensors of a file, or of its parts where an index stands beside its place.

    Raises:
        ValueError: a file is missing or damaged, the files do not hold what the index says, or
            rows of a tensor are missing; it names the file.
    """
    index = file.with_name(f"{file.name}.index.json")
    with ExitStack() as stack:
        if not file.exists() and index.exists():
            yield _of_parts(index, stack)
        else:
            yield _of_file(file, stack)


@torch.no_grad()
def fill(tensor: Tensor, saved: "SavedTensor | Tensor") -> None:
    """Read a tensor, of a sharded one the rows that lie here: a slice at a time.

    Args:
        tensor: to be written over; of the saved one's shape.
        saved: its values, on the disk or in memory.
    """
    first, own = local_rows(tensor)
    if own.dim() == 0:
        own.copy_(saved[...])
        return
    row = prod(own.shape[1:]) * own.element_size()
    count = max(1, SLICE // max(1, row))
    for start in range(0, len(own), count):
        stop = min(start + count, len(own))
        own[start:stop].copy_(saved[first + start : first + stop])


def _of_file(file: Path, stack: ExitStack) -> dict[str, SavedTensor]:
    content, found = _opened(file, stack), {}
    for name in content.keys():  # noqa: SIM118 it is no mapping
        shape, dtype = _facts(content, name)
        found[name] = SavedTensor(dtype, shape, (_Stored(content, name, 0, _rows(shape)),))
    return found


def _of_parts(index: Path, stack: ExitStack) -> dict[str, SavedTensor]:
    try:
        entries = json.loads(read_text(index))["tensors"]
        names = {piece[0] for entry in entries.values() for piece in entry["pieces"]}
        if elsewhere := [name for name in names if Path(name).name != name]:
            raise ValueError(f"it names {elsewhere[0]!r}, which is no file beside it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{index.name} is no index of tensors ({reason})") from error
    files = {name: _opened(index.with_name(name), stack) for name in sorted(names)}
    try:
        return {name: _joined(name, entry, files) for name, entry in entries.items()}
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ValueError(f"{index.name} does not fit its files ({error})") from error


def _joined(name: str, entry: Mapping[str, Any], files: Mapping[str, Any]) -> SavedTensor:
    """Return a tensor whose pieces are as the index says, all of its rows among them."""
    shape, dtype = torch.Size(entry["shape"]), dtype_of(entry["dtype"])
    stored, after = [], 0
    for file, first, rows in sorted(entry["pieces"], key=lambda piece: piece[1:]):
        if first != after:
            raise ValueError(f"rows from {min(first, after)} of {name} are missing, or there twice")
        wanted = torch.Size([rows, *shape[1:]]) if shape else shape
        if _facts(files[file], name) != (wanted, dtype):
            raise ValueError(f"{name} in {file} is not {tuple(wanted)} in {dtype}")
        stored.append(_Stored(files[file], name, first, rows))
        after = first + rows
    if after != _rows(shape):
        raise ValueError(f"of {name} there are {after} rows in place of {_rows(shape)}")
    return SavedTensor(dtype, shape, tuple(stored))


def _opened(file: Path, stack: ExitStack) -> Any:
    try:
        return stack.enter_context(safe_open(file, framework="pt"))
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file.name} cannot be read ({error})") from error


def _facts(content: Any, name: str) -> tuple[torch.Size, torch.dtype]:
    there = content.get_slice(name)
    return torch.Size(there.get_shape()), dtype_of(there.get_dtype())


def _rows(shape: torch.Size) -> int:
    return shape[0] if shape else 1
