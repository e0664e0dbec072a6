"""``python -m evaluation.curate``: which train rows are worth training on; see docs/curate.md."""

import process.early  # noqa: F401 - a signal among the imports below ends in one line, too

import sys
from collections.abc import Sequence
from pathlib import Path

from data.reading.bad_rows_file import showing_bad_rows
from evaluation.curate.curate_config import CurateConfig, curate_parser
from evaluation.curate.place import check_place
from process.command import exit_status_of, shared_command
from process.flags import config_from
from process.page import fitted
from process.ranks import first_owns, joined, world


@shared_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 2 for a mistake that a message explains."""
    given = vars(curate_parser().parse_args(argv))
    return exit_status_of(
        lambda: curate(config_from(CurateConfig, given)),
        kept="the same command goes on where it was",
        lower="lower --batch-size",
        part="sampling",
    )


def curate(config: CurateConfig) -> None:
    """Sample, judge, write and print.

    Raises:
        ValueError: what the user can mend, in one sentence.
    """
    from evaluation.curate.curation import Curation
    from evaluation.curate.effect_text import curation_table

    output = Path(config.output_dir)
    with joined(), showing_bad_rows(config.show_bad_rows):
        world().by_the_first("looking at the result's place", lambda: check_place(output))
        with first_owns(output):
            curation = Curation.prepare(config)
            print(curation.description())
            curation.sample()
            summary = world().by_the_first("writing the curation", curation.write)
    if unreadable := summary["unreadable"]:
        print(f"\n{len(unreadable):,} rows could not be read to be sampled: none of them is kept")
    print(f"\n{fitted(curation_table(summary))}\n")
    print(f"written: {output / 'summary.json'}, {output / 'split'}")
    if not summary["files"]:
        print("no row is left: drop fewer reasons, or sample from another model", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
