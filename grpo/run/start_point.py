"""The checkpoint that a run goes on from: which one, whether it is whole, what becomes of others.

Nothing imports torch: a damaged checkpoint is told of before anything is loaded.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grpo.run.best import find_best
from grpo.run.checkpoint_names import INDEX, OPTIMIZER, RNG, STATE, checkpoints_of, step_of
from models.checkpoint.manifest import CARD, MANIFEST, TRAINER, Manifest, damages, read_manifest
from process.called import command_line
from process.page import fitted
from process.ranks import world
from process.regular import read_text
from process.storage import set_aside

WEIGHTS_ONLY = "--save-weights-only"


def newest_checkpoint(run: Path) -> Path:
    """Return the newest checkpoint of a run.

    Raises:
        ValueError: the run has none.
    """
    found = checkpoints_of(run)
    if not found:
        raise ValueError(
            f"--resume {run}: no checkpoint in {run / 'checkpoints'}: the run ended before its"
            " first one; remove the directory and start it anew"
        )
    return found[-1]


def checkpoint_to_resume(run: Path, name: str | None = None) -> Path:
    """Return the checkpoint that is named, else the newest, all its files being in their places.

    Args:
        run: the run's directory.
        name: such as step-000080.

    Raises:
        ValueError: there is none of that name, or as `check_whole`.
    """
    newest = newest_checkpoint(run)
    chosen = newest if name is None else run / "checkpoints" / name
    if chosen not in (there := checkpoints_of(run)):
        raise ValueError(
            f"--resume-from {name}: {run} has no such checkpoint: name one of"
            f" {', '.join(path.name for path in there)}"
        )
    if has_weights_only(chosen):
        whole = [other for other in there if not has_weights_only(other)]
        way = f"start a new run from it with --model {chosen}"
        if whole:
            way = f"go on from an older one with: {_command(run, whole[-1])}; or {way}"
        raise ValueError(
            f"checkpoint {chosen} holds the weights alone ({WEIGHTS_ONLY}), and nothing that"
            f" training goes on from: {way}"
        )
    check_whole(chosen, contents=False)
    return chosen


def has_weights_only(checkpoint: Path) -> bool:
    """Return whether a checkpoint was saved without what training needs to go on.

    Only its manifest can tell that from files that were lost.
    """
    try:
        manifest = _manifest_of(checkpoint)
    except ValueError:
        return False
    return manifest is not None and not any(name.startswith(TRAINER) for name in manifest.files)


def check_resumable(checkpoint: Path, total_steps: int) -> None:
    """Print from where a run goes on, and raise where it cannot: the last look before weights load.

    All processes call it; each compares some of the files.

    Raises:
        ValueError: the run has done more than ``total_steps`` steps; an evaluation before them
            cannot be read; or as `check_whole`.
    """
    done = step_of(checkpoint)
    if done > total_steps:
        raise ValueError(
            f"--max-steps {total_steps} is less than the {done} steps that are done: give at least"
            " as many"
        )
    find_best(checkpoint.parent.parent, until=done)
    print(fitted(going_on_line(checkpoint)), flush=True)
    check_whole(checkpoint, contents=False)
    told = world().gather(_own_damages(checkpoint))
    _raise_of(checkpoint, [fault for found in told for fault in found])


def check_whole(checkpoint: Path, *, contents: bool = True) -> None:
    """Raise where a checkpoint is not as it was saved; one without a manifest is only looked over.

    Args:
        checkpoint: of a run.
        contents: read all files, to compare their checksums.

    Raises:
        ValueError: naming the files and what is wrong with each, and the newest whole checkpoint.
    """
    _raise_of(checkpoint, faults(checkpoint, contents=contents))


def _raise_of(checkpoint: Path, found: list[str]) -> None:
    if found:
        raise ValueError(
            f"checkpoint {checkpoint} is damaged: {'; '.join(found)}. {_offer(checkpoint)}"
        )


def faults(checkpoint: Path, *, contents: bool = True) -> list[str]:
    """Return what is wrong with the files of a checkpoint, each named."""
    try:
        manifest = _manifest_of(checkpoint)
    except ValueError as error:
        return [str(error)]
    if manifest is None:
        state = INDEX if (checkpoint / INDEX).exists() else OPTIMIZER
        files = (CARD, STATE, state, RNG, "config.json")
        found = [f"{name} is missing" for name in files if not (checkpoint / name).is_file()]
    else:
        found = damages(checkpoint, manifest, contents=False)
    found = found or list(_other_steps(checkpoint, manifest))
    if contents and manifest is not None:
        return found or damages(checkpoint, manifest)
    return found


def going_on_line(checkpoint: Path) -> str:
    """Return the line that says from where a run goes on, before its files are compared."""
    manifest = _manifest_of(checkpoint)
    if manifest is None:
        return (
            f"going on from {checkpoint}: it has no {MANIFEST}, written before there were any, and"
            " is not verified"
        )
    count, size = len(manifest.files), manifest.size / 1e6
    return f"going on from {checkpoint}, if its {count} files ({size:,.1f} MB) are as saved"


def set_aside_newer(run: Path, step: int) -> None:
    """Rename the checkpoints after the step that a run goes on from, and print their new names."""
    for newer in checkpoints_of(run):
        if step_of(newer) > step:
            print(f"set aside, to be removed when nobody needs it: {set_aside(newer)}")


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return state.json.

    Raises:
        ValueError: naming the file, and what is wrong with it.
    """
    state = _read_json(checkpoint, STATE)
    counts = state.get("bad_steps", {})
    if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
        raise ValueError(f"{STATE} has bad_steps {counts!r}")
    position = state.get("data_position", 0)
    if type(position) is not int or position < 0:
        raise ValueError(f"{STATE} has data_position {position!r}")
    return state


def _own_damages(checkpoint: Path) -> list[str]:
    """Return what is wrong with the bytes of the files that this process is to look at."""
    manifest = _manifest_of(checkpoint)
    if manifest is None:
        return []
    # by size, so that each has as much to read
    names = sorted(manifest.files, key=lambda name: manifest.files[name].size)
    own = names[world().rank :: world().size]
    return damages(checkpoint, manifest, lambda name: name in own)


def _manifest_of(checkpoint: Path) -> Manifest | None:
    there = (checkpoint / MANIFEST).exists()
    return read_manifest(checkpoint) if there else None


def _other_steps(checkpoint: Path, manifest: Manifest | None) -> Iterator[str]:
    """Yield the files that are of another step than the checkpoint."""
    if manifest is not None and manifest.step != step_of(checkpoint):
        yield f"{MANIFEST} is of step {manifest.step}"
    for name in (CARD,) if has_weights_only(checkpoint) else (STATE, CARD):
        try:
            step = (read_state(checkpoint) if name == STATE else _read_json(checkpoint, name)).get(
                "step"
            )
        except ValueError as error:
            yield str(error)
            continue
        if step != step_of(checkpoint):
            yield f"{name} is of step {step!r}"


def _read_json(checkpoint: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(read_text(checkpoint / name))
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} holds no JSON object")
    return content


def _offer(damaged: Path) -> str:
    """Return how to go on without a damaged checkpoint."""
    run = damaged.parent.parent
    for other in reversed(checkpoints_of(run)):
        if other != damaged and not has_weights_only(other) and not faults(other):
            command = _command(run, other)
            unsure = "" if (other / MANIFEST).exists() else f" (it has no {MANIFEST} to tell by)"
            return f"The newest whole one is {other.name}{unsure}; go on from it with: {command}"
    return "No checkpoint of this run is whole: start the run anew, in another --output-dir"


def _command(run: Path, checkpoint: Path) -> str:
    """Return the command that goes on from a checkpoint."""
    return command_line("train", "--resume", str(run), "--resume-from", checkpoint.name)
