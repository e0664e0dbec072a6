"""``python -m data.audit FILES... [--image-root DIR]``: what split files give away and share."""

import process.early  # noqa: F401 - a signal among the imports below ends in one line, too

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.audit.audited import pairs_of, read_files
from data.audit.findings import audit
from data.audit.headlines import headlines
from data.audit.html_page import audit_page
from data.audit.save import read_audit, write_audit
from data.audit.sections import tables_of
from process.called import module_line
from process.command import command
from process.conditions import ONLY_HELP, check_conditions
from process.flag_parser import FlagParser
from process.page import fitted
from process.paths import expanded, user_path
from process.places import check_new_directory, unused_directory
from process.signals import once_there, saying_kept
from process.tables.text import titled_text

_NOWHERE = Path("images")  # paths are compared, none is opened


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the audit; returns the exit status, 2 for what the user can mend."""
    args = _parser().parse_args(argv)
    try:
        directory = make_audit(args)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"\nwritten: {directory / 'audit.json'}, {directory / 'audit.html'}")
    return 0


def make_audit(args: argparse.Namespace) -> Path:
    """Audit, print, write; returns the directory.

    Raises:
        ValueError: what the user can mend, in one sentence.
    """
    directory = args.output_dir or unused_directory("audit")
    check_new_directory(directory)
    if args.image_root is not None and not args.image_root.is_dir():
        raise ValueError(f"image root {args.image_root} is not a folder: check --image-root")
    check_conditions(args.only, ())
    if not 0 <= args.near_distance <= 15:
        raise ValueError(f"--near-distance {args.near_distance} must be 0 to 15 of 64 bits")
    beside = None if args.beside is None else read_audit(args.beside)
    files = read_files(args.files, args.image_root or _NOWHERE, args.only)
    pairs_of(files)  # raises before the work
    report = audit(files, args.image_root, args.near_distance, args.only)
    tables, lines = list(tables_of(report, beside)), list(headlines(report))
    with saying_kept(once_there(directory / "audit.json")):
        write_audit(directory, report, audit_page(report, tables, lines))
        print("\n\n".join(map(titled_text, tables)))
        print(*(fitted(f"- {line}") for line in lines), sep="\n")
    return directory


def _parser() -> FlagParser:
    parser = FlagParser(
        prog=module_line("data.audit"),
        description="What split files give away without their images, and what they share.",
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=expanded,
        metavar="FILE",
        help="data files; NAME_train.json and NAME_test.json are a pair, in whichever folders",
    )
    parser.add_argument(
        "--image-root",
        type=user_path,
        metavar="DIR",
        help="the folder under which image paths begin: contents are compared, too",
    )
    parser.add_argument("--only", nargs="+", default=(), metavar="FIELD=VALUE", help=ONLY_HELP)
    parser.add_argument(
        "--output-dir",
        type=user_path,
        metavar="DIR",
        help="where audit.json and audit.html go (default: runs/<date>-<time>-audit)",
    )
    parser.add_argument(
        "--near-distance",
        type=int,
        default=4,
        metavar="BITS",
        help="images whose 64-bit hashes differ in at most so many bits are near-duplicates (4)",
    )
    parser.add_argument(
        "--beside",
        type=user_path,
        metavar="AUDIT",
        help="an earlier audit.json, of the original splits for example: its text priors are shown"
        " beside the new ones",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
