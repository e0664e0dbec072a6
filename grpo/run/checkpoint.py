"""Checkpoints: a plain transformers directory, and beside it what training needs to go on.

    checkpoints/step-000100/            loads with from_pretrained, vLLM, TRL
        groupwise.json                  mode, image size, prompt template, limits, method, step
        trainer/optimizer.safetensors   AdamW's moments, float32 masters where weights are not
        trainer/state.json              step, which is also the position in the data order
        trainer/rng.safetensors         random generators (grpo/run/generators.py), for rewards

No pickle anywhere. A checkpoint is written beside its place, flushed to the disk and renamed into
it, so that the newest directory is whole whatever interrupted the run.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from grpo.optimizer import PolicyOptimizer
from grpo.run.generators import generator_tensors, restore_generators
from models.checkpoint.saving import save_policy
from models.policy import Policy
from process.disk import make_folder
from process.storage import remove_folder, replacing, sweep, write_json


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
        OSError: the disk is full or not writable. Then, and where anything else breaks it off,
            nothing half-written stays, and no older checkpoint was touched.
    """
    place = run / "checkpoints" / f"step-{step:06d}"
    unfinished = f".{place.name}.unfinished"
    try:
        make_folder(place.parent)
        sweep(place.parent)  # of a save that was broken off: it takes as much room
        with replacing(place, unfinished, to_disk=True, over_folder=True) as folder:
            (folder / "trainer").mkdir(parents=True)
            save_policy(policy, folder)
            tensors = {name: item.contiguous() for name, item in optimizer.state_tensors().items()}
            save_file(tensors, folder / "trainer" / "optimizer.safetensors")
            save_file(
                dict(generators or generator_tensors(policy.device)),
                folder / "trainer" / "rng.safetensors",
            )
            write_json(folder / "groupwise.json", {**card, "step": step})
            write_json(folder / "trainer" / "state.json", {**state, "step": step})
    except (OSError, SafetensorError) as error:
        raise OSError(_not_written(place, error)) from error
    for old in whole_checkpoints(run)[:-keep]:
        if best is None or old.name != f"step-{best:06d}":
            remove_folder(old)
    return place


def _not_written(place: Path, error: Exception) -> str:
    run = place.parent.parent
    older = whole_checkpoints(run)
    message = f"checkpoint {place} could not be written ({error}): free some space"
    if not older:
        return f"{message}, and start the run anew: it has no checkpoint yet"
    return (
        f"{message}, or lower --keep-checkpoints, and go on from {older[-1].name}, which is whole,"
        f" with --resume {run}"
    )


def whole_checkpoints(run: Path) -> list[Path]:
    """Return the run's checkpoints, oldest first; unfinished ones are not among them."""
    names = re.compile(r"step-\d{6,}")
    found = [path for path in (run / "checkpoints").glob("step-*") if names.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.split("-")[1]))


def newest_checkpoint(run: Path) -> Path:
    """Return the checkpoint a resumed run goes on from.

    Raises:
        ValueError: the run has none.
    """
    found = whole_checkpoints(run)
    if not found:
        raise ValueError(
            f"--resume {run}: no checkpoint in {run / 'checkpoints'}: the run ended before its"
            " first one; remove the directory and start it anew"
        )
    return found[-1]


def first_state(
    checkpoint: Path | None, optimizer: PolicyOptimizer, total_steps: int
) -> dict[str, Any]:
    """Return state.json of the checkpoint that a run goes on from; of a fresh run, step 0.

    Raises:
        ValueError: the run has done more than ``total_steps`` steps, or as `load_trainer_state`.
    """
    state = load_trainer_state(checkpoint, optimizer) if checkpoint else {"step": 0}
    if state["step"] > total_steps:
        raise ValueError(
            f"--max-steps {total_steps} is less than the {state['step']} steps that are done: give"
            " at least as many"
        )
    return state


def load_trainer_state(checkpoint: Path, optimizer: PolicyOptimizer) -> dict[str, Any]:
    """Put the optimizer and the random generators where they were; return state.json.

    Raises:
        ValueError: a file is missing or damaged, or belongs to another model.
    """
    folder = checkpoint / "trainer"
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if not isinstance(state, dict) or not isinstance(state.get("step"), int):
            raise ValueError("state.json has no step")
        tensors = load_file(folder / "optimizer.safetensors")
        fresh = restore_generators(load_file(folder / "rng.safetensors"), optimizer.device)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"checkpoint {checkpoint} cannot be resumed ({error}): remove it to go on from the one"
            " before it"
        ) from error
    optimizer.load_state_tensors(tensors)
    if fresh:
        print(f"{checkpoint} knows no state of the generators {', '.join(fresh)}: seeded anew")
    return state
