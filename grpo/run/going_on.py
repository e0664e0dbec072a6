"""Which run a command goes on with where it says itself that it does: --resume auto, a new start.

`torchrun --max-restarts` starts its processes anew with the words of the first start; they go on
with what that has begun. A plain restart of the same command does so with --resume auto.
"""

from dataclasses import replace
from pathlib import Path

from grpo.run.directory import BEGUN, RunDirectory
from grpo.run.start_point import checkpoints_of
from grpo.run.unsaved import set_unsaved_aside
from grpo.settings.command_line import AUTO, Asked
from grpo.settings.resuming import changed_settings
from process.ranks import first_alone, place
from process.ranks.notes import noted_before


def going_on(asked: Asked) -> Asked:
    """Return what is asked for, with the run to go on with where the command is to find it.

    That is the one in --output-dir or, where torchrun has started the processes anew, the one that
    they had begun. Without a checkpoint there, the run begins anew in the same directory.

    Raises:
        ValueError: settings that differ from the run's, and may not; another process works there.
    """
    begun = _begun()
    if asked.resume not in (None, AUTO):
        # Newer checkpoints than that of --resume-from are what the first start has made of it.
        return replace(asked, resume_from=None) if begun else asked
    if asked.resume is None and place().restarts == 0:
        return asked
    directory = asked.given.get("output_dir") or begun
    if not directory:
        return replace(asked, resume=None)
    if not _has_checkpoint(directory):
        return replace(asked, resume=None, given={**asked.given, "output_dir": directory})
    _, stored = RunDirectory.open(directory)
    changes = changed_settings(asked.given, asked.config, stored["config"])
    return replace(asked, resume=directory, given=changes, config=None)


@first_alone("looking for the run that was begun")
def _begun() -> str | None:
    return noted_before(BEGUN)


@first_alone("looking for a checkpoint")
def _has_checkpoint(directory: str) -> bool:
    """Return whether a run can go on there; what one without a checkpoint has left is set aside."""
    path = Path(directory)
    if not (path / "run.json").is_file():
        return False
    if checkpoints_of(path):
        return True
    set_unsaved_aside(path)
    return False
