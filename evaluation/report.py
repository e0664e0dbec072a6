"""One HTML page about a run, an evaluation or a matrix: tables, curves, a look at rollouts.

    python -m evaluation.report RUN_DIR

The page is one file that fetches nothing. Its pictures need matplotlib (the extra ``report``);
without it the page has everything else and says so.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from evaluation.pictures import MatplotlibMissingError
from evaluation.report_evaluation import evaluation_sections, matrix_sections
from evaluation.report_files import read_json
from evaluation.report_html import page, paragraph
from evaluation.report_run import run_sections
from grpo.run_directory import write_text

REPORT = "report.html"


def write_report(directory: str | Path) -> Path:
    """Write report.html into a run's, an evaluation's or a matrix's directory; return its path.

    An old page is replaced.

    Raises:
        ValueError: the directory is none of these, or a file in it cannot be read or is not what
            it should be.
        OSError: the page cannot be written.
    """
    directory = Path(directory)
    try:
        sections = _sections(directory)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{directory}: a file of it lacks what it should hold ({type(error).__name__}:"
            f" {error}): it is from another version, or was changed by hand"
        ) from error
    file = directory / REPORT
    write_text(file, page(directory.resolve().name, sections))
    return file


def report_finished_run(directory: Path) -> None:
    """Write the report of a run that is over and say where it is; whatever fails is a warning."""
    try:
        print(f"report: {write_report(directory)}")
    except Exception as error:  # all is saved: no page is worth a run's exit status
        print(f"warning: no {REPORT}: {error}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 2 for a mistake that a message explains."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.report", description="Write report.html: one page, one file."
    )
    parser.add_argument(
        "directory", metavar="DIR", help="of a run, an evaluation or a matrix; the page goes there"
    )
    try:
        file = write_report(parser.parse_args(argv).directory)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {file}")
    return 0


def _sections(directory: Path) -> list[str]:
    if (directory / "run.json").is_file():
        return run_sections(directory, draw_or_explain)
    if (directory / "summary.json").is_file():
        return evaluation_sections(directory, draw_or_explain)
    if (directory / "matrix.json").is_file():
        return matrix_sections(read_json(directory / "matrix.json"), draw_or_explain)
    raise ValueError(
        f"{directory} has none of run.json, summary.json and matrix.json: name the --output-dir of"
        " train.py or evaluate.py"
    )


def draw_or_explain(draw: Callable[[], str]) -> str:
    """Return the HTML of a picture, or of a line that says what to install for it."""
    try:
        return draw()
    except MatplotlibMissingError as error:
        return paragraph(f"No pictures here: {error}; then python -m evaluation.report", "note")


if __name__ == "__main__":
    sys.exit(main())
