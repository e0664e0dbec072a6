"""The HTML of a table: what a cell may hold, and that nothing of it is markup."""

from process.tables.html import html_table
from process.tables.value import Code, Column, Emphasis, Strong, Table, columns_of


def test_there_is_a_dash_for_nothing_and_no_row_of_empty_headings():
    text = html_table(Table(columns_of(["", ""]), [["a", None]]))
    assert "<th" not in text and "<td>–</td>" in text
    assert html_table(Table(columns_of(["a"]), [])) == ""


def test_every_text_is_escaped_and_every_mark_is_a_tag():
    evil = "<script>alert('x')</script></td>"
    cells = [(Strong(evil), Code("a & b")), Emphasis("*")]
    text = html_table(Table(columns_of([evil, "b"]), [cells, [evil]]))
    assert "<script" not in text and text.count("&lt;script&gt;") == 3
    assert "<strong>&lt;script" in text and "<code>a &amp; b</code>" in text
    assert "<em>*</em>" in text and '<td colspan="2">&lt;script' in text


def test_texts_numbers_and_what_a_model_wrote_are_told_apart():
    kinds = ("text", "number", "written")
    columns = [Column(kind, kind=kind) for kind in kinds]
    text = html_table(Table(columns, [["a", 1, "b"]], shades=[[None, 0.5, None]]))
    assert '<td class="text">a</td>' in text and '<td class="text written">b</td>' in text
    assert '<td style="color:#000;background:hsl(28 90% 73%)">1</td>' in text
    assert '<th scope="col">number</th><th class="text" scope="col">written</th>' in text
