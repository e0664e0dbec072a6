"""What the commands print and write, from made-up answers: no model, a second on one core.

    python -m tests.whole.printed

writes tests/golden/printed anew, which is right only where a printed text is meant to change.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from data.audit.headlines import headlines
from data.audit.html_page import audit_page
from data.audit.sections import tables_of
from evaluation.answers.finished import Evaluation
from evaluation.compare import compare, comparison_table
from evaluation.measures.summary import summarize
from evaluation.report.album import Album
from evaluation.report.evaluation_page import evaluation_sections
from evaluation.report.extra_text import extra_table, images_note, letters_note, unanswered_note
from evaluation.report.matrix_page import matrix_sections
from evaluation.report.matrix_text import matrix_table
from evaluation.report.protocol_markdown import protocol_markdown
from evaluation.report.protocol_page import protocol_sections
from evaluation.report.run_files import RunFiles
from evaluation.report.run_page import run_sections
from evaluation.report.summary_text import change_table, sample_completions, summary_table
from evaluation.report.thought_text import thought_table
from process.tables.document import document
from process.tables.text import titled_text
from tests.places import ROOT
from tests.whole.made_up import (
    answers,
    audits,
    curation,
    evaluation,
    matrix,
    protocol_json,
    run_files,
    split_comparison,
)

GOLDEN = ROOT / "tests" / "golden" / "printed"
WIDTHS = (80, 200)  # columns of the terminal


def numbers() -> dict[str, Any]:
    """Return all that the texts are made from, by file name; every digit counts."""
    first, second = (
        Evaluation(Path(n), {}, tuple(answers(s, 0.6, 60 - s))) for n, s in (("a", 0), ("b", 9))
    )
    return {
        "evaluation.json": evaluation(),
        "compare.json": compare(first, second),
        "matrix.json": matrix(),
        "protocol.json": protocol_json(),
    }


def texts(found: dict[str, Any]) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield (name, text) of what is printed on a terminal, whose width the text depends on."""
    one, grid = found["evaluation.json"], found["matrix.json"]
    notes = (unanswered_note, images_note, letters_note)
    yield (
        "score",
        lambda: "\n\n".join(
            [
                summary_table(one),
                extra_table(one),
                thought_table(one["thoughts"]),
                *(n(one) for n in notes),
            ]
        ),
    )
    yield "change", lambda: change_table(summarize(answers(0, 0.4)), summarize(answers(1, 0.7)))
    yield "samples", lambda: sample_completions(answers(0, 0.7))
    yield "compare", lambda: comparison_table(found["compare.json"])
    yield "curation", curation
    yield "matrix", lambda: "\n\n".join(map(matrix_table, (grid, grid["controls"]["blank"])))
    yield "splits", split_comparison
    with TemporaryDirectory() as folder:
        report, beside = audits(Path(folder))
    lines = [f"- {line}" for line in headlines(report)]
    yield (
        "audit",
        lambda: "\n".join(["\n\n".join(map(titled_text, tables_of(report, beside))), *lines]),
    )


def pages(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of what is written: pages without figures."""
    yield "protocol.md", protocol_markdown(found["protocol.json"])
    kinds = {
        "evaluation": ("summary.json", found["evaluation.json"], evaluation_sections),
        "matrix": ("matrix.json", found["matrix.json"], matrix_sections),
        "protocol": ("protocol.json", found["protocol.json"], protocol_sections),
        "run": ("run.json", None, run_sections),
    }
    for kind, (name, value, sections) in kinds.items():
        with TemporaryDirectory() as folder:
            directory = Path(folder)
            if value is None:
                run_files(directory)
            else:
                (directory / name).write_text(json.dumps(value))
            if kind == "evaluation":
                lines = [json.dumps(item.to_json()) + "\n" for item in answers(0, 0.7)]
                (directory / "predictions.jsonl").write_text("".join(lines))
            album = Album(directory)
            album.without_matplotlib = True  # whose files differ between its versions
            with terminal(80):
                html = document(kind, sections(RunFiles(directory), album))
        yield f"{kind}.html", html
    with TemporaryDirectory() as folder:
        report, beside = audits(Path(folder))
        html = audit_page(report, tables_of(report, beside), list(headlines(report)))
        yield "audit.html", html.replace(folder, "FOLDER")


@contextlib.contextmanager
def terminal(columns: int) -> Iterator[None]:
    """Print as on a terminal of so many columns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(columns)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def everything() -> dict[str, str]:
    """Return what the golden folder holds, by file name."""
    found = numbers()
    files = {n: json.dumps(value, indent=1, allow_nan=False) + "\n" for n, value in found.items()}
    for name, text in texts(found):
        for columns in WIDTHS:
            with terminal(columns):
                files[f"{name}-{columns}.txt"] = text() + "\n"
    return files | dict(pages(found))


def main() -> None:
    """Write the golden folder."""
    GOLDEN.mkdir(exist_ok=True)
    for name, text in everything().items():
        (GOLDEN / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
