"""A table of texts that others wrote stays one table of plain words."""

import re

import pytest

from process.tables.markdown import markdown_line, markdown_table
from process.tables.value import Code, Strong, Table, columns_of

HOSTILE = "a | b\n| c `d` <img src=x> [l](http://x) [r]: y [s][t] \\| \\` \x1b[2J \u202e"


def test_a_hostile_cell_stays_in_its_row_and_its_column():
    rows = [[HOSTILE, (Strong(HOSTILE), Code(HOSTILE))], ["b", "2"]]
    lines = markdown_table(Table(columns_of([HOSTILE, "x"]), rows)).split("\n")
    assert len(lines) == 4
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line)) == 3, line


@pytest.mark.parametrize("mark", [str, Strong])
def test_words_are_no_markup(mark):
    line = markdown_line((mark(HOSTILE),))
    assert not re.search("[<`\n\x1b\u202e]", line)
    assert not re.search(r"\][(\[:]", line)


@pytest.mark.parametrize("text", ["plain", "a `b` c", "``", "`x", "x```y``"])
def test_code_ends_where_its_text_ends(text):
    line = markdown_line((Code(text),))
    fence = re.match("`+", line)[0]
    inside = line[len(fence) : -len(fence)]
    assert line.endswith(fence) and text in inside
    assert all(len(run) != len(fence) for run in re.findall("`+", inside))
