"""Which rows of a tensor lie in this process: all of a plain one, a slice of a sharded one."""

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def local_rows(tensor: Tensor) -> tuple[int, Tensor]:
    """Return the first of the rows that lie here, and these rows: writing there writes the tensor.

    Of a plain tensor, whatever its shape, that is 0 and all of it. Of a tensor sharded by rows
    (FSDP2's Shard(0)) the processes' rows follow each other in rank order, none twice; the last
    processes may have none: their first row is then the number of rows.

    Raises:
        ValueError: the tensor is spread in another way.

    >>> local_rows(torch.zeros(3, 2))[0]
    0
    """
    # By its attribute: importing DTensor takes most of a second, which one process never needs.
    mesh = getattr(tensor, "device_mesh", None)
    if mesh is None:
        return 0, tensor.detach()
    sharded: Any = tensor
    if mesh.ndim != 1 or not sharded.placements[0].is_shard(0):
        raise ValueError(f"a tensor spread as {sharded.placements} has no rows of its own here")
    # As torch.chunk cuts: pieces of one size, the last ones shorter or empty.
    piece = -(-sharded.shape[0] // mesh.size())
    first = min(mesh.get_local_rank() * piece, sharded.shape[0])
    return first, sharded.detach().to_local()
