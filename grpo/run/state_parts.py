"""Tensors in a checkpoint's trainer/: which of their rows this process writes, into which files.

A sharded tensor's rows are written by the process that has them, what every process has by the
first. An optimizer's state that fits into one file of one process is trainer/optimizer.safetensors
alone, a reference's weights trainer/reference.safetensors.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from models.checkpoint.parts import Piece, in_parts, part_names
from models.sharding.rows import local_rows
from process.ranks import world


def own_pieces(tensors: Mapping[str, Tensor]) -> list[Piece]:
    """Return the rows that this process writes, none of them in two processes."""
    found = []
    for name, tensor in tensors.items():
        first, values = local_rows(tensor)
        has_rows = values.dim() == 0 or len(values) > 0
        is_own = hasattr(tensor, "device_mesh")
        if has_rows and (is_own or world().is_first):
            found.append(Piece(name, first, tuple(tensor.shape), values))
    return found


def by_name(pieces: Sequence[Piece]) -> dict[str, Tensor]:
    """Return the values of pieces, which are of a tensor each, by its name."""
    return {piece.name: piece.values for piece in pieces}


def own_parts(pieces: Sequence[Piece], file: str) -> dict[str, list[Piece]]:
    """Return the pieces by the names of the files that this process writes.

    All processes call it: the names count the files of all.

    Args:
        pieces: this process's own.
        file: its name where one suffices; others are named after it.
    """
    parts = in_parts(pieces)
    if world().size == 1 and len(parts) <= 1:
        return {file: parts[0] if parts else []}
    counts = world().gather(len(parts))
    before = sum(counts[: world().rank])
    names = part_names(file.removesuffix(".safetensors"), before, len(parts), sum(counts))
    return dict(zip(names, parts, strict=True))
