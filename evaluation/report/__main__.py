"""``python -m evaluation.report DIR``: write report.html anew, from the files that are there."""

import process.early  # noqa: F401 - a signal among the imports below ends in one line, too

import sys
from collections.abc import Sequence

from evaluation.report.write import tell, write_report
from process.called import module_line
from process.command import command
from process.flag_parser import FlagParser
from process.paths import expanded


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 2 for a mistake that a message explains."""
    parser = FlagParser(
        prog=module_line("evaluation.report"),
        description="Write report.html, one page that fetches nothing, and figures/*.png.",
    )
    parser.add_argument(
        "directory",
        type=expanded,
        metavar="DIR",
        help="of a run, an evaluation, a matrix or a protocol; an old page there is replaced",
    )
    parser.add_argument(
        "--image-root",
        type=expanded,
        metavar="DIR",
        help="folder of the images, instead of the one that the directory itself names",
    )
    given = parser.parse_args(argv)
    try:
        report = write_report(given.directory, given.image_root)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    tell(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
