"""The text of a table, drawn by hand."""

import pytest

from process.tables.numbers import count_and_share, percent, percent_range, points, points_range
from process.tables.text import table_lines
from process.tables.value import Column, Strong, Table, columns_of


@pytest.fixture(autouse=True)
def width_60(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")


def test_given_widths_break_headings_and_cut_names():
    columns = [Column("", 6), Column("share of all", 9), Column("n", 4)]
    rows = [["seven letters", "1.0", 2], ["part"], [" one", None, 10]]
    assert table_lines(Table(columns, rows)) == [
        "       share of",
        "            all   n",
        "seven…      1.0   2",
        "part",
        " one             10",
    ]


def test_without_widths_columns_are_as_wide_as_their_cells():
    rows = [["a", "1"], ["a long name", (Strong("12"), " (3)")]]
    assert table_lines(Table(columns_of(["file", "rows that are bad"]), rows)) == [
        "             rows that",  # a heading's lines are of at most eleven letters
        "file           are bad",
        "a                    1",
        "a long name     12 (3)",
    ]


def test_what_does_not_fit_stands_below_under_headings_of_its_own():
    columns = [Column("", 20), Column("a b", 3), Column("c", 40)]
    assert table_lines(Table(columns, [["x", "1", "2"]])) == [
        "                      a",
        "                      b",
        "x" + " " * 21 + "1",
        "",
        " " * 59 + "c",
        "x" + " " * 58 + "2",
    ]


def test_what_is_not_known_has_no_number():
    assert (percent(None), points(None)) == (None, None)
    assert percent_range(None, 0.5) is None and points_range(0.1, None) is None
    assert points_range(-0.1, 0.2, between=" .. ") == "-10.0 .. +20.0"
    assert count_and_share(0, 5) == "0"
