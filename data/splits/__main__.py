"""``python -m data.splits FILES... --output-dir DIR``: no image, or patient, in train and test."""

import process.early  # noqa: F401 - a signal among the imports below ends in one line, too

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.audit.audited import read_files
from data.splits.comparison import priors_comparison
from data.splits.plan import Settings, make_plan
from data.splits.writer import write_split
from process.called import module_line
from process.command import command
from process.conditions import ONLY_HELP, check_conditions
from process.flag_parser import FlagParser
from process.page import fitted
from process.paths import expanded, user_path
from process.places import check_new_directory
from process.signals import once_there, saying_kept
from process.tables.numbers import percent
from process.tables.text import titled_text

_NOWHERE = Path("images")  # paths are compared, none is opened


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Split; returns the exit status, 2 for what the user can mend."""
    args = _parser().parse_args(argv)
    with saying_kept(once_there(args.output_dir / "splits.json")):
        try:
            report = make_split(args)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        print(*map(fitted, _lines(report)), sep="\n")
        if report["text_priors"]:
            print("", titled_text(priors_comparison(report["text_priors"])), sep="\n")
        print(f"\nwritten: {args.output_dir} ({len(report['outputs'])} files and splits.json)")
    return 0


def make_split(args: argparse.Namespace) -> dict[str, Any]:
    """Split and write; returns what splits.json holds.

    Raises:
        ValueError: what the user can mend, in one sentence.
    """
    check_new_directory(args.output_dir)
    if not 0 < args.test_share < 1:
        raise ValueError(f"--test-share {args.test_share} must be above 0 and below 1")
    check_conditions(args.only, ())
    if not 0 <= args.near_distance <= 15:
        raise ValueError(f"--near-distance {args.near_distance} must be 0 to 15 of 64 bits")
    if args.image_root is not None and not args.image_root.is_dir():
        raise ValueError(f"image root {args.image_root} is not a folder: check --image-root")
    settings = Settings(
        image_root=args.image_root,
        disjoint=args.disjoint,
        test_share=args.test_share,
        seed=args.seed,
        image_needed=args.image_needed,
        near_distance=args.near_distance,
        allow_unpaired=args.allow_unpaired,
        only=tuple(args.only),
    )
    root = args.image_root or _NOWHERE
    files = read_files(args.files, root, args.only)
    return write_split(args.output_dir, files, make_plan(files, settings), settings, root)


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    rows, groups = report["rows"], report["groups"]
    yield f"{rows['read']:,} rows read: {rows['train']:,} to train, {rows['test']:,} to test"
    share, wanted = (100 * place["test_share"] for place in (report, report["settings"]))
    yield f"test share {share:.2f} % (asked for {wanted:g} %)"
    yield f"{groups['count']:,} groups stay whole, the largest of {groups['largest'][0]:,} rows"
    for reason, slices in rows["dropped"].items():
        yield f"left out, {sum(slices.values()):,}: {reason}"
    placed = rows["train"] + rows["test"]
    without = placed - report["rows_with_patient"]
    yield f"{without:,} of {placed:,} rows have no patient or series in their file names"
    if official := report.get("official_split"):
        parts = ", ".join(f"{part} {count:,}" for part, count in official.items())
        yield (
            f"{sum(official.values()):,} rows are of a part of their source's own split ({parts}),"
            " which this one replaces: --only split=test reads that"
        )
    if report["images_missing"] or report["images_broken"]:
        yield (
            f"{report['images_missing']:,} images are missing, {report['images_broken']:,} broken:"
            " compared by path only, or by path and content"
        )
    how = report["tasks"]["how"]
    yield "tasks of the rows read: " + ", ".join(f"{count:,} {way}" for way, count in how.items())
    if redrawn := report.get("image_needed"):
        before, now = percent(redrawn["chance_as_published"]), percent(redrawn["chance"])
        yield (
            f"{redrawn['rows_with_fewer_options']:,} rows have fewer options than published:"
            f" guessing is right in {now} % of the rows, with their published options in"
            f" {before} %"
        )
    both = ", ".join(f"{name.split('_in_')[0]} {n}" for name, n in report["in_both_parts"].items())
    yield f"in train and test, read back from the written files: {both.replace('_', ' ')}"


def _parser() -> FlagParser:
    parser = FlagParser(
        prog=module_line("data.splits"),
        description="Draw train and test anew, with no image, or no patient, in both.",
    )
    add = parser.add_argument
    add(
        "files",
        nargs="+",
        type=expanded,
        metavar="FILE",
        help="train and test files of one axis, or a single file; their rows are pooled",
    )
    add("--output-dir", type=user_path, required=True, metavar="DIR", help="new or empty")
    add(
        "--image-root",
        type=user_path,
        metavar="DIR",
        help="the folder under which image paths begin: contents and near-duplicates are kept"
        " together, too",
    )
    add("--only", nargs="+", default=(), metavar="FIELD=VALUE", help=ONLY_HELP)
    add(
        "--disjoint",
        choices=("image", "patient"),
        default="image",
        help="what train and test must not share; patient: neither image nor patient or series,"
        " where the file name gives one (image)",
    )
    add("--test-share", type=float, default=0.2, metavar="SHARE", help="of all rows (0.2)")
    add("--seed", type=int, default=0, help="draws the split, distractors and letters (0)")
    add(
        "--image-needed",
        action="store_true",
        help="redraw the wrong options from right answers of the same data set and task, in one"
        " form, with one question wording per task; where there are few, rows lose options",
    )
    add(
        "--near-distance",
        type=int,
        default=4,
        metavar="BITS",
        help="images whose 64-bit hashes differ in at most so many bits stay together (4)",
    )
    add(
        "--allow-unpaired",
        action="store_true",
        help="take train files without their test file, and the reverse",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
