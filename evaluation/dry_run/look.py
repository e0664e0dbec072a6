"""train.py --dry-run and --check-data: the run that the words ask for, looked at."""

from collections.abc import Callable

from evaluation.dry_run.dry_run import NOTHING_WRITTEN, DryRun
from grpo.run import Origin, RunDirectory, seeded
from grpo.run.start_point import step_of
from grpo.settings import Asked, origins_of
from rewards import REWARDS


def look(asked: Asked, begin: Callable[[Origin, RunDirectory, DryRun], object]) -> None:
    """Say what a run would do and need, after its trial steps how long it would take, too.

    Or, with --check-data, what it would ask of which rows.

    Nothing is written, and no directory made.

    Args:
        asked: of a fresh run, or of one that goes on.
        begin: reads the data, and goes as far as the dry run asks for.

    Raises:
        ValueError, OSError: as the run itself.
    """
    if asked.resume is None:
        origin = Origin.fresh(asked.fresh_config(RunDirectory.choose), {})
        directory = RunDirectory.choose(origin.config.output_dir, origin.config.model)
    else:
        directory, _ = RunDirectory.open(asked.resume)
        origin = Origin.resumed(
            directory, asked.given, {}, known=REWARDS, trusted=asked.trusted, at=asked.resume_from
        )
    done = 0 if origin.checkpoint is None else step_of(origin.checkpoint)
    dry = DryRun(origins_of(asked, origin.config), asked.trial_steps, done, asked.checks_data)
    with seeded(origin.config.seed):
        begin(origin, directory, dry)
    print("\ndata checked: nothing was written" if asked.checks_data else f"\n{NOTHING_WRITTEN}")
