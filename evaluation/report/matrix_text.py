"""A matrix as plain text: rows are what was trained on, columns what was tested on, in per cent."""

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from process.shown import shown_line
from process.tables.numbers import percent
from process.tables.text import table_lines
from process.tables.value import Cell, Column, Table

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
        rows.append([model, *(_cell(cells[model, test]) for test in tests), mean])
    first = [cells[models[0], test] for test in tests]
    rows.append(["chance", *(f"{percent(cell['chance']) or '-'} " for cell in first)])
    rows.append(["rows", *(f"{cell['n']:,} " for cell in first)])
    columns = [Column(title), *map(_column, tests), _column("mean of others", bare=True)]
    lines = table_lines(Table(columns, rows))
    return "\n".join([*lines, "", *table_lines(_means_table(matrix["means"]))])


def field_matrices(matrix: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a title and the matrix of each value of the rows' fields that were asked for."""
    for field, values in matrix.get("by_field", {}).items():
        for value, part in values.items():
            yield shown_line(f"rows whose {field} is {value}"), part


def sensitivity_table(control: Mapping[str, Any]) -> str:
    """Return the table of a control's image sensitivity; an empty text where no cell has one."""
    cells = {(cell["model"], cell["test"]): cell.get("sensitivity") for cell in control["cells"]}
    if not any(cells.values()):
        return ""
    tests = list(dict.fromkeys(test for _, test in cells))
    rows: list[list[Cell]] = [
        [model, *(_share(cells[model, test]) for test in tests)]
        for model in dict.fromkeys(model for model, _ in cells)
    ]
    columns = [Column("answers that change"), *map(_column, tests)]
    return "\n".join(table_lines(Table(columns, rows)))


def _share(found: Mapping[str, Any] | None) -> str:
    return "- " if found is None else f"{percent(found['share'])} "


def _column(name: str, *, bare: bool = False) -> Column:
    """Return a column no narrower than its longest word, its heading broken between words.

    The bracket that ends a cell hangs: the heading and cells without one end with a space, unless
    the column is ``bare`` of brackets.
    """
    word = max(map(len, name.split())) + 1
    lines, width = wrap(name, word), max(_CELL, word) + 1
    if bare:
        return Column("\n".join(lines), width - 1)
    return Column("\n".join(f"{line} " for line in lines), width)


def _means_table(means: Mapping[str, Any]) -> Table:
    most = max(len(f"{mean['n']:,}") for mean in means.values() if mean is not None)
    columns = [
        *(Column("", 18), Column("macro", 8), Column("by row", 8), Column("chance", 8)),
        *(Column("cells", 7), Column("answers", max(len("answers"), most) + 2)),
    ]
    rows = [
        [
            title,
            *(percent(mean[name]) for name in ("macro", "row_weighted", "chance_macro")),
            mean["cells"],
            f"{mean['n']:,}",
        ]
        for part, title in _MEANS.items()
        if (mean := means[part]) is not None
    ]
    return Table(columns, rows)


def _cell(cell: Mapping[str, Any]) -> str:
    text = percent(cell["accuracy"])
    return f"[{text}]" if cell["part"] == "diagonal" else f"{text} "
