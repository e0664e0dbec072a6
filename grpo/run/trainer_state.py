"""What training needs to go on, out of a checkpoint's trainer/: optimizer, generator, counts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from grpo.optimizer import PolicyOptimizer
from grpo.run.checkpoint_names import OPTIMIZER, RNG, rng_files
from grpo.run.exploded import not_finite
from grpo.run.generators import restore_generators
from grpo.run.start_point import read_state
from grpo.run.state_parts import by_name, own_pieces
from models.checkpoint.saved_tensors import saved_tensors
from process.ranks import world


def first_state(checkpoint: Path | None, optimizer: PolicyOptimizer) -> dict[str, Any]:
    """Return state.json of the checkpoint that a run goes on from; of a fresh run, step 0.

    Raises:
        ValueError: as `load_trainer_state`.
    """
    return load_trainer_state(checkpoint, optimizer) if checkpoint else {"step": 0}


def load_trainer_state(checkpoint: Path, optimizer: PolicyOptimizer) -> dict[str, Any]:
    """Put the optimizer and the random generators where they were; return state.json.

    Every process reads the rows that it has, however many processes have written them. Where these
    were as many as there are now, each gets its own generators back, else the first one's.

    Raises:
        ValueError: a file is missing or damaged, or belongs to another model; it names the file.
    """
    with resuming(checkpoint, "loading the optimizer"):
        state = read_state(checkpoint)
        generators = _read_tensors(checkpoint, _own_rng(checkpoint))
        try:
            with saved_tensors(checkpoint / OPTIMIZER) as tensors:
                optimizer.load_state_tensors(tensors)
        except ValueError as error:
            raise ValueError(f"{OPTIMIZER}: {error}") from error
        if broken := not_finite(by_name(own_pieces(optimizer.state_tensors()))):
            raise ValueError(f"{OPTIMIZER} holds NaN or inf in {', '.join(broken[:3])}")
        try:
            fresh = restore_generators(generators, optimizer.device)
        except (ValueError, KeyError, RuntimeError, TypeError, OverflowError) as error:
            raise ValueError(f"{RNG} holds no state of a generator ({error!r})") from error
    if fresh:
        print(f"{checkpoint} knows no state of the generators {', '.join(fresh)}: seeded anew")
    return state


@contextmanager
def resuming(checkpoint: Path, part: str) -> Iterator[None]:
    """Read a part of a checkpoint, all processes together; what is wrong ends with the way out.

    Raises:
        ValueError: what the body says is wrong, and of which checkpoint.
    """
    with world().together(part):
        try:
            yield
        except ValueError as error:
            raise ValueError(
                f"checkpoint {checkpoint} cannot be resumed: {error}: name an earlier one with"
                " --resume-from"
            ) from error


def _own_rng(checkpoint: Path) -> str:
    """Return the file of this process's generators."""
    files, ranks = rng_files(checkpoint), world()
    if len(files) == ranks.size:
        return files[ranks.rank]
    if ranks.is_first:
        print(
            f"{checkpoint} was saved by {len(files)} processes and goes on in {ranks.size}: all"
            " of them with the random generators of the first"
        )
    return RNG


def _read_tensors(checkpoint: Path, name: str) -> dict[str, Tensor]:
    try:
        return load_file(checkpoint / name)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{name} cannot be read ({error})") from error
