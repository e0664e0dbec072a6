"""What a run has left that ended before its first checkpoint: nothing can go on from it.

Its lines and evaluations are a record all the same, so they are moved, whole, into a folder beside
which the run begins anew:

    out/unsaved/         metrics.jsonl, rollouts.jsonl, eval/, run.json ..
    out/unsaved-2/       of the next one that ended so

A start that has written no line and no evaluation leaves nothing worth keeping, and goes.
"""

import re
from itertools import count
from pathlib import Path

from process.disk import sync_folder
from process.leftovers import contents, discard
from process.owner import owned
from process.storage import move_into

_NAME = re.compile(r"unsaved(-\d+)?")


def is_unsaved(name: str) -> bool:
    """Return whether a name in a run's directory is of what a run without a checkpoint left.

    >>> is_unsaved("unsaved-2"), is_unsaved("metrics.jsonl")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


def set_unsaved_aside(run: Path) -> None:
    """Empty the directory of a run that has no checkpoint, and say where its record is now.

    Raises:
        ValueError: another process works there.
    """
    with owned(run):
        # run.json goes last: until then the next start finds the same run and does the rest.
        names = [name for name in contents(run) if not is_unsaved(name) and name != "run.json"]
        if not any(_has_content(run / name) for name in names):
            for name in (*names, "run.json"):
                discard(run / name)
            sync_folder(run)
            return
        folders = (run / f"unsaved{'' if number == 1 else f'-{number}'}" for number in count(1))
        aside = next(folder for folder in folders if not folder.exists())
        move_into(aside, (run / name for name in (*names, "run.json")))
        print(f"the run in {run} ended before its first checkpoint: its record is now {aside}")


def _has_content(place: Path) -> bool:
    """Return whether anything is in a file, or in a folder's files."""
    if place.is_dir() and not place.is_symlink():
        return any(_has_content(inside) for inside in place.iterdir())
    return place.is_symlink() or place.stat().st_size > 0
