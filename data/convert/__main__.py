"""``python -m data.convert IN... OUT --to jsonl``: write any data file in one form of ours."""

import process.early  # noqa: F401 - a signal among the imports below ends in one line, too

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from data.convert.json_lines import picture_folder, write_json_lines
from data.convert.parquet import write_parquet
from data.convert.source_rows import SourceRows
from data.reading.bad_rows_file import showing_bad_rows
from process.called import module_line
from process.command import command, exit_status_of
from process.conditions import ONLY_HELP, check_conditions
from process.flag_parser import FlagParser
from process.paths import user_path
from process.signals import interruptible, once_there, saying_kept


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Write the file; returns the exit status."""
    args = _parser().parse_args(argv)
    return exit_status_of(
        lambda: _convert(args),
        kept="",
        lower="convert fewer files at a time",
        part="the conversion",
    )


def _parser() -> FlagParser:
    parser = FlagParser(
        prog=module_line("data.convert"),
        description="Write data files of any published format and container in one form.",
        epilog="JSON lists, JSON Lines, CSV, TSV and parquet are read, also packed with gzip, and"
        " folders of them. The file that is written reads back as the same examples, with ids of"
        " its own; each row notes the old one.",
    )
    parser.add_argument("input", nargs="+", metavar="IN", help="data files, folders of them")
    parser.add_argument("output", type=user_path, metavar="OUT", help="a new file")
    parser.add_argument(
        "--to",
        required=True,
        choices=("jsonl", "parquet"),
        help="JSON Lines, where images that stand in rows become files in a folder beside it; or"
        " parquet (the extra of that name), which keeps them in the rows",
    )
    parser.add_argument(
        "--image-root",
        type=user_path,
        metavar="DIR",
        help="folder that the rows' image paths start from; no image need be there (default: .)",
    )
    parser.add_argument("--only", nargs="+", default=(), metavar="FIELD=VALUE", help=ONLY_HELP)
    parser.add_argument(
        "--skip-bad-rows", action="store_true", help="leave out rows that cannot be used"
    )
    parser.add_argument(
        "--show-bad-rows", metavar="FILE", help="write every row that cannot be used there"
    )
    return parser


def _convert(args: Namespace) -> None:
    image_root = args.image_root or Path()
    _check_place(args.output, args.to)
    with (
        showing_bad_rows(args.show_bad_rows),
        saying_kept(once_there(args.output)),
        interruptible(),
    ):
        check_conditions(args.only, ())
        rows = SourceRows(args.input, image_root, skip_bad_rows=args.skip_bad_rows, only=args.only)
        said = ""
        if args.to == "parquet":
            write_parquet(rows, args.output)
        else:
            pictures = write_json_lines(rows, args.output)
            if pictures.count:
                said = (
                    f", {pictures.count:,} images to {pictures.place}; pass --image-root"
                    f" {pictures.base} with it"
                )
    if note := rows.only.note():
        print(note)
    if bad := rows.bad_rows:
        print(f"{len(bad):,} bad rows skipped, the first: {bad[0]}")
    print(f"{rows.count:,} rows of {len(rows.files):,} files written to {args.output}{said}")


def _check_place(out: Path, to: str) -> None:
    taken = [out] if to == "parquet" else [out, picture_folder(out)]
    for place in taken:
        if place.exists() or place.is_symlink():
            raise ValueError(f"{place} is there already: name another OUT, nothing is written over")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise ValueError(f"{out.parent} is no folder that you may write to: name another OUT")


if __name__ == "__main__":
    sys.exit(main())
