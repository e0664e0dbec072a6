"""Weights and moments that are NaN or inf are never saved: nobody can go on from them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from grpo.run.start_point import has_weights_only
from process.ranks import world

_SHOWN = 3


class ExplodedError(FloatingPointError):
    """A checkpoint was refused; the message says which tensors, and what can be gone on from."""


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of those that hold NaN or inf, at the cost of reading each once.

    >>> not_finite({"a": torch.ones(2), "b": torch.tensor([1.0, float("-inf")])})
    ['b']
    """
    # A sum is finite only where every number is; where it is not, the numbers may just be large.
    sums = {name: tensor.sum() for name, tensor in tensors.items()}  # on a GPU none waits
    suspects = [name for name, total in sums.items() if not torch.isfinite(total)]
    return [name for name in suspects if not torch.isfinite(tensors[name]).all()]


def check_finite_state(
    step: int, tensors: Mapping[str, Tensor], run: Path, newest: Path | None
) -> None:
    """Raise where a checkpoint would hold NaN or inf, in all processes.

    Args:
        step: steps done.
        tensors: what would be saved, as much of it as this process has.
        run: the run's directory.
        newest: its newest checkpoint, None where it has none.

    Raises:
        ExplodedError: naming some of the tensors.
    """
    found = world().gather(not_finite(tensors))
    broken = list(dict.fromkeys(name for names in found for name in names))
    if not broken:
        return
    # The first process has some of every tensor: all say the same, so that it is printed once.
    count = world().most(len(tensors))
    shown = ", ".join(broken[:_SHOWN]) + ", .." * (len(broken) > _SHOWN)
    message = (
        f"step {step}: {len(broken)} of {count} tensors of the weights and the optimizer"
        f" hold NaN or inf ({shown}), so no checkpoint of it is saved"
    )
    if newest is None:
        raise ExplodedError(f"{message}: start the run anew with a lower --learning-rate")
    message += f": start a new run from --model {newest} with a lower --learning-rate"
    if not has_weights_only(newest):
        message += f". --resume {run} goes on from there too, and takes the same steps"
    raise ExplodedError(message)
