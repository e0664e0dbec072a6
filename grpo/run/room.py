"""Whether checkpoints have room on the disk: asked before the first step, told where they had none.

A run that finds its disk too small at step 200 has lost what it took to get there. So before
anything is trained, what all checkpoints take at a time is compared with what is free, and one of a
few bytes is written, flushed and renamed as those to come.
"""

import shutil
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path

import torch

from grpo.optimizer import PolicyOptimizer
from grpo.run.checkpoint_names import checkpoints_of
from grpo.run.start_point import has_weights_only
from grpo.settings.config import GRPOConfig
from models.checkpoint.manifest import TRAINER
from models.checkpoint.saving import saved_bytes
from models.checkpoint.sealing import Seal
from models.policy import Policy
from process.bars import warn
from process.disk import file_system_of, make_folder
from process.leftovers import discard
from process.ranks import world
from process.storage import replacing, sweep

SHARED = "--output-dir must lie on storage that all nodes share"
_FULL = (ENOSPC, EDQUOT, EFBIG)
_IN_MEMORY = ("tmpfs", "ramfs")
_BESIDE = 1_000_000  # bytes of a checkpoint that are no tensors: headers, settings, the manifest
_LARGE = 1_000_000_000  # bytes; smaller checkpoints may well be kept in memory


def check_room(
    run: Path, policy: Policy, optimizer: PolicyOptimizer, config: GRPOConfig, steps: range
) -> None:
    """Raise where checkpoints of these steps could not be written; leave nothing behind.

    Args:
        run: the run's directory, which is there.
        policy: whose weights are to be saved.
        optimizer: whose state is.
        config: which and how many checkpoints are kept.
        steps: that are yet to be done, counted from 0.

    Raises:
        ValueError: there is not enough room, nothing can be written, or a process does not see what
            the first one writes; it says what to do.
    """
    if not steps:
        return
    state = 0 if config.save_weights_only else optimizer.state_bytes()
    if state and any(map(config.has_own_reference, range(steps.start + 1, steps.stop + 1))):
        trained = sum(weight.numel() for weight in optimizer.weights.values())
        state += trained * policy.dtype.itemsize
    each = saved_bytes(policy) + state + _BESIDE
    there = len(checkpoints_of(run)) if world().is_first else 0
    world().by_the_first("looking for room", lambda: _check_free(run, each, config, steps, there))
    _try_writing(run)


def most_at_a_time(config: GRPOConfig, steps: range, there: int = 0) -> int:
    """Return how many checkpoints of these steps may lie beside those that are there, at most.

    A new one is written before the oldest goes; the one with the best accuracy may be a further
    one.

    >>> config = GRPOConfig(save_every=200, keep_checkpoints=2)
    >>> [most_at_a_time(config, range(total)) for total in (100, 400, 10_000)]
    [1, 2, 3]
    """
    all_steps = range(steps.start + 1, steps.stop + 1)
    saved = {steps.stop, *_multiples(config.save_every, all_steps)}
    evaluates = bool(config.eval_json) and config.eval_every > 0
    if evaluates:
        saved |= {*_multiples(config.eval_every, all_steps)}
    most = config.keep_checkpoints + 1 + evaluates
    return max(1, min(len(saved), most - there))


def unfinished(place: Path) -> Path:
    """Return where a checkpoint is written before it is put into its place."""
    return place.with_name(f".{place.name}.unfinished")


def not_written(place: Path, error: OSError, needed: int) -> str:
    """Return what to do where a checkpoint of ``needed`` bytes could not be written."""
    run, beside = place.parent.parent, unfinished(place)
    way, why = f"see to the disk of {run}", error.strerror or str(error)
    if error.filename is not None and Path(error.filename).is_relative_to(beside):
        why = f"{Path(error.filename).relative_to(beside)}: {why}"
    elif error.filename is not None:
        why = f"{error.filename}: {why}"
    if error.errno in _FULL:
        free = shutil.disk_usage(run).free
        way = "free some space"
        why += f"; it takes {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
    return f"checkpoint {place} could not be written ({why}): {way}, and {_way_on(run)}"


def _multiples(every: int | str, steps: range) -> range:
    """Return which steps are due; of a time that cannot be told, so all may be."""
    if isinstance(every, str):
        return steps
    return range(-(-steps.start // every) * every, steps.stop, every) if every else range(0)


def _check_free(run: Path, each: int, config: GRPOConfig, steps: range, there: int) -> None:
    """Compare what is needed with what is free; warn of a disk that is none."""
    count = most_at_a_time(config, steps, there)
    free, needed = shutil.disk_usage(run).free, count * each
    if needed > free:
        ways = ["free some space"]
        ways += ["lower --keep-checkpoints"] if count > 1 and config.keep_checkpoints > 1 else []
        ways += [] if config.save_weights_only else ["save without optimizer: --save-weights-only"]
        ways += [] if there else ["name another --output-dir"]
        raise ValueError(
            f"the checkpoints of this run do not fit into {run}: they take {needed / 1e9:,.1f} GB"
            f" ({count} at a time, {each / 1e9:,.1f} GB each) and {free / 1e9:,.1f} GB are free:"
            f" {', or '.join(ways)}"
        )
    kind = file_system_of(run)
    if kind in _IN_MEMORY and each >= _LARGE:
        warn(
            f"{run} lies in this machine's memory ({kind}): checkpoints take {needed / 1e9:,.1f} GB"
            " of it, and are gone with it: name an --output-dir on a disk"
        )


def _try_writing(run: Path) -> None:
    """Write a checkpoint of a few bytes, which all processes must see, and remove it."""
    # A process that is killed here leaves no folder that was not there: it would look begun.
    folder, ranks = run / "checkpoints", world()
    folder = folder if folder.exists() else run
    trial = folder / ".step-000000.tmp"  # a leftover, if it stays, and never a checkpoint
    try:
        with ranks.together("writing a checkpoint of a few bytes"):
            if ranks.is_first:
                _write_trial(folder, trial)
        with ranks.together("reading a checkpoint of a few bytes"):
            if not trial.is_dir():
                raise ValueError(f"process {ranks.rank} does not see {trial}: {SHARED}")
    finally:
        if ranks.is_first:
            discard(trial)


def _write_trial(folder: Path, trial: Path) -> None:
    """Write, flush and rename, as a checkpoint is."""
    try:
        make_folder(folder)
        sweep(folder)
        with (
            replacing(trial, ".step-000000.unfinished", to_disk=True, over_folder=True) as beside,
            Seal(beside) as seal,
        ):
            (beside / TRAINER).mkdir(parents=True)
            seal.write_tensors(f"{TRAINER}trial.safetensors", {"trial": torch.zeros(1)})
            seal.finish(0)
    except OSError as error:
        raise ValueError(
            f"no checkpoint can be written to {folder} ({error}): see to its rights and its disk,"
            " or name another --output-dir"
        ) from error


def _way_on(run: Path) -> str:
    older = checkpoints_of(run)
    if not older:
        return "start the run anew: there is no checkpoint before it"
    if has_weights_only(older[-1]):
        return f"start a new run from {older[-1].name}, which is whole, with --model {older[-1]}"
    return f"go on from {older[-1].name}, which is whole, with --resume {run}"
