"""The command train.py: which of a fresh run, one that goes on, a look or a protocol is meant."""

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from data.reading.bad_rows_file import showing_bad_rows
from grpo.run import FinishedRun, Origin, RunDirectory, going_on
from grpo.settings import Asked, GRPOConfig
from process.command import explained
from process.memory import DeviceMemoryError

if TYPE_CHECKING:  # imports torch
    from evaluation.dry_run.dry_run import DryRun


def train_command(
    asked: Asked,
    run: Callable[[GRPOConfig], FinishedRun],
    resume: Callable[..., FinishedRun],
    begin: "Callable[[Origin, RunDirectory, DryRun], object]",
) -> int:
    """Do what the command line asks for; return the exit status.

    Args:
        asked: the command line, read.
        run: train.run.
        resume: train.resume.
        begin: a run's beginning, as far as a dry run asks for.
    """
    again = partial(resume, trust_reward_file=asked.trusted)
    if asked.protocol is not None:
        from evaluation.protocol.run_protocol import Training, protocol_command

        training = Training(run, again)
        return protocol_command(
            asked.protocol, asked.given, training, trusted=asked.trusted, jobs=asked.jobs
        )
    try:
        asked.check_together()
        with showing_bad_rows(asked.show_bad_rows):
            _begin(asked, run, again, begin)
    except (ValueError, OSError, FloatingPointError, DeviceMemoryError) as error:
        print(f"error: {explained(error)}", file=sys.stderr)
        return 2
    return 0


def _begin(
    asked: Asked,
    run: Callable[[GRPOConfig], FinishedRun],
    again: Callable[..., FinishedRun],
    begin: "Callable[[Origin, RunDirectory, DryRun], object]",
) -> None:
    if asked.is_dry or asked.checks_data:
        from evaluation.dry_run.look import look

        look(asked, begin)
        return
    asked = going_on(asked)
    if asked.resume is None:
        run(asked.fresh_config(RunDirectory.choose))
    else:
        again(asked.resume, asked.given, resume_from=asked.resume_from)
