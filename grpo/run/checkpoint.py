"""Checkpoints: a plain transformers directory, and beside it what training needs to go on.

    checkpoints/step-000100/            loads with from_pretrained, vLLM, TRL
        groupwise.json                  mode, image size, prompt template, limits, method, step
        trainer/optimizer.safetensors   AdamW's moments, float32 masters where weights are not
        trainer/state.json              step, which is also the position in the data order
        trainer/rng.safetensors         random generators (grpo/run/generators.py), for rewards
        manifest.json                   all files with size and SHA-256, written last

No pickle anywhere. A checkpoint is written beside its place, flushed to the disk and renamed into
it, so that the newest directory is whole whatever interrupted the run.
"""

import shutil
from collections.abc import Mapping
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from typing import Any

from torch import Tensor

from grpo.optimizer import PolicyOptimizer
from grpo.run.exploded import check_finite_state
from grpo.run.generators import generator_tensors
from grpo.run.start_point import checkpoints_of
from models.checkpoint.manifest import CARD
from models.checkpoint.saving import save_policy
from models.checkpoint.sealing import Seal
from models.policy import Policy
from process.disk import make_folder
from process.storage import remove_folder, replacing, sweep, write_json

_FULL = (ENOSPC, EDQUOT, EFBIG)


def save_checkpoint(
    run: Path,
    step: int,
    policy: Policy,
    optimizer: PolicyOptimizer,
    *,
    state: Mapping[str, Any],
    card: Mapping[str, Any],
    keep: int,
    best: int | None = None,
    generators: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write checkpoints/step-<step>, then remove all but the newest ``keep`` and the best.

    Returns the new checkpoint's path.

    Args:
        run: the run's directory.
        step: steps done so far.
        policy: whose weights are saved, in their own dtype.
        optimizer: whose state is saved.
        state: what else training needs, as JSON.
        card: groupwise.json, what an evaluation needs to know.
        keep: at least 1.
        best: the step whose checkpoint stays however old it is, if it has one.
        generators: the random generators' states after that step; None: as they are now.

    Raises:
        ExplodedError: a weight or a moment is NaN or inf; nothing is written.
        OSError: the disk is full or not writable. Then, and where anything else breaks it off,
            nothing half-written stays, and no older checkpoint was touched.
    """
    tensors = optimizer.state_tensors()
    older = checkpoints_of(run)
    check_finite_state(step, {**optimizer.weights, **tensors}, run, older[-1] if older else None)
    place = run / "checkpoints" / f"step-{step:06d}"
    try:
        make_folder(place.parent)
        sweep(place.parent)  # of a save that was broken off: it takes as much room
        with (
            replacing(place, _unfinished(place).name, to_disk=True, over_folder=True) as folder,
            Seal(folder) as seal,
        ):
            (folder / "trainer").mkdir(parents=True)
            seal.hash_ahead("trainer/optimizer.safetensors", tensors)
            save_policy(policy, folder)
            seal.take()  # hashed while the optimizer is written
            seal.write_tensors("trainer/optimizer.safetensors", tensors)
            random = generators or generator_tensors(policy.device)
            seal.write_tensors("trainer/rng.safetensors", random)
            write_json(folder / CARD, {**card, "step": step})
            write_json(folder / "trainer" / "state.json", {**state, "step": step})
            seal.finish(step)
    except OSError as error:
        needed = sum(tensor.nbytes for tensor in (*policy.parameters(), *tensors.values()))
        raise OSError(_not_written(place, error, needed)) from error
    for old in checkpoints_of(run)[:-keep]:
        if best is None or old.name != f"step-{best:06d}":
            remove_folder(old)
    return place


def _unfinished(place: Path) -> Path:
    return place.with_name(f".{place.name}.unfinished")


def _not_written(place: Path, error: OSError, needed: int) -> str:
    """Return what to do where a checkpoint of ``needed`` bytes could not be written."""
    run, unfinished = place.parent.parent, _unfinished(place)
    way, why = f"see to the disk of {run}", error.strerror or str(error)
    if error.filename is not None and Path(error.filename).is_relative_to(unfinished):
        why = f"{Path(error.filename).relative_to(unfinished)}: {why}"
    elif error.filename is not None:
        why = f"{error.filename}: {why}"
    if error.errno in _FULL:
        free = shutil.disk_usage(run).free
        way = "free some space"
        why += f"; it takes {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
    message = f"checkpoint {place} could not be written ({why}): {way}"
    older = checkpoints_of(run)
    if not older:
        return f"{message}, and start the run anew: there is no checkpoint before it"
    return f"{message}, and go on from {older[-1].name}, which is whole, with --resume {run}"
