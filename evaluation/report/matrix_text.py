"""A matrix as plain text: rows are what was trained on, columns what was tested on, in per cent."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from evaluation.report.text import percent
from process.page import column_blocks

_CELL = 8  # "[100.0]" and a space
_MEANS = {"diagonal": "on the diagonal", "off_diagonal": "off the diagonal", "all": "all cells"}


def matrix_table(matrix: Mapping[str, Any], *, title: str = "trained on") -> str:
    """Return the aligned table of a matrix.json, and under it its means.

    Cells on the diagonal stand in brackets; the last column is a model's mean over the tests of
    the other slices.
    """
    cells = {(cell["model"], cell["test"]): cell for cell in matrix["cells"]}
    models = list(dict.fromkeys(model for model, _ in cells))
    tests = list(dict.fromkeys(test for _, test in cells))
    rows = []
    for model in models:
        others = matrix["by_model"][model]["others"]
        mean = percent(others["macro"]) if others else "-"
        rows.append([model, *(_cell(cells[model, test]) for test in tests), f"{mean} "])
    first = [cells[models[0], test] for test in tests]
    rows.append(["chance", *(f"{percent(cell['chance'])} " for cell in first)])
    rows.append(["rows", *(f"{cell['n']:,} " for cell in first)])
    table = aligned([title, *(f"{test} " for test in tests), "mean of others "], rows)
    return "\n".join([*table, "", *_mean_lines(matrix["means"])])


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column left, the others right.

    A heading is broken between words, so that a column is as wide as its longest word.
    """
    words = [max(map(len, heading.split())) + 1 for heading in headings]
    widths = [max(_CELL, word) + 1 for word in words[1:]]
    names = max(len(headings[0]), *(len(row[0]) for row in rows))
    parts = [wrap(heading, word) for heading, word in zip(headings[1:], words[1:], strict=True)]
    height = max(map(len, parts))
    full = [[""] * (height - len(part)) + [f"{one} " for one in part] for part in parts]
    head = [
        [headings[0] if line == height - 1 else "", *(part[line] for part in full)]
        for line in range(height)
    ]
    lines: list[str] = []
    # the space that a cell without brackets ends with is not printed at the end of a line
    bare = all(row[-1].endswith(" ") for row in [headings, *rows] if len(row) == len(headings))
    for block in column_blocks(names, [*widths[:-1], widths[-1] - bare]):
        lines += [""] if lines else []
        for row in [*head, *rows]:
            cells = [row[1 + i].rjust(widths[i]) for i in block if 1 + i < len(row)]
            lines.append("".join([row[0].ljust(names), *cells]).rstrip())
    return lines


def _mean_lines(means: Mapping[str, Any]) -> list[str]:
    most = max(len(f"{mean['n']:,}") for mean in means.values() if mean is not None)
    width = max(len("answers"), most) + 2
    lines = [f"{'':<18}{'macro':>8}{'by row':>8}{'chance':>8}{'cells':>7}{'answers':>{width}}"]
    for part, title in _MEANS.items():
        if (mean := means[part]) is not None:
            shares = (mean["macro"], mean["row_weighted"], mean["chance_macro"])
            numbers = "".join(f"{percent(share):>8}" for share in shares)
            lines.append(f"{title:<18}{numbers}{mean['cells']:>7}{mean['n']:>{width},}")
    return lines


def _cell(cell: Mapping[str, Any]) -> str:
    text = percent(cell["accuracy"])
    return f"[{text}]" if cell["part"] == "diagonal" else f"{text} "
