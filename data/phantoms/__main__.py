"""``python -m data.phantoms --output-dir DIR``: write the embedded data set as files."""

import process.early  # noqa: F401 - a signal among the imports below ends in one line, too

import sys
from collections.abc import Sequence

from data.phantoms.askings import ASKINGS
from data.phantoms.export import write_phantoms
from process.called import module_line
from process.command import command
from process.flag_parser import FlagParser
from process.paths import user_path
from process.places import check_can_be_made
from process.signals import saying_kept


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the files; returns the exit status."""
    parser = FlagParser(
        prog=module_line("data.phantoms"),
        description="Write the embedded data set as images and JSON files in the published format.",
    )
    parser.add_argument(
        "--output-dir", type=user_path, required=True, metavar="DIR", help="a new or empty folder"
    )
    parser.add_argument(
        "--rows-per-cell",
        type=int,
        metavar="N",
        help="rows for each pair of modality and question type (default: 160 train, 20 test)",
    )
    parser.add_argument(
        "--asked",
        choices=ASKINGS,
        default="letter",
        help="about the images: by letters of options, open, by yes or no, or for a count"
        " (default: letter)",
    )
    args = parser.parse_args(argv)
    if args.rows_per_cell is not None and args.rows_per_cell < 1:
        parser.error(f"--rows-per-cell {args.rows_per_cell} must be at least 1")
    if args.output_dir.exists() and (
        not args.output_dir.is_dir() or any(args.output_dir.iterdir())
    ):
        parser.error(f"--output-dir {args.output_dir} is not an empty folder: name a fresh one")
    part = f"remove {args.output_dir}, which holds a part, and start the same command again"
    try:
        check_can_be_made(args.output_dir)
        with saying_kept(lambda: part if args.output_dir.exists() else None):
            files = write_phantoms(
                args.output_dir, args.rows_per_cell, asked=args.asked, progress=True
            )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(files)} JSON files under {args.output_dir}; pass it as --image-root. For example:")
    print(f"  --train-json '{files[0]}' --image-root '{args.output_dir}'")
    return 0


if __name__ == "__main__":
    sys.exit(main())
