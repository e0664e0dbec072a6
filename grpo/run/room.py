"""Whether a checkpoint has room on the disk, and what to do where it had none."""

import shutil
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path

from grpo.run.start_point import checkpoints_of, has_weights_only

_FULL = (ENOSPC, EDQUOT, EFBIG)


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


def _way_on(run: Path) -> str:
    older = checkpoints_of(run)
    if not older:
        return "start the run anew: there is no checkpoint before it"
    if has_weights_only(older[-1]):
        return f"start a new run from {older[-1].name}, which is whole, with --model {older[-1]}"
    return f"go on from {older[-1].name}, which is whole, with --resume {run}"
