"""What a data file is, its content tells: one content gives equal rows in every container."""

import base64
import csv
import gzip
import io
import json
import os
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.convert.__main__ import main as convert
from data.reading import characters, unpacked
from data.reading.readers import load_examples, parse_rows, read_examples
from data.reading.rows import file_rows
from process.memory import MemoryRanOutError
from tests.data.reading.containers import CONTAINERS, packed, write_rows
from tests.places import SHARED

ROW = {"image": "a.png", "problem": "What? A)CT, B)MRI", "solution": "<answer> A </answer>"}
NAMES = ("image", "problem", "solution", "note")
SIZES = (1, 7, 1 << 20)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("rows") / "CT_train.data"


# no text of blanks alone: in a table that is no field; no NUL, which CSV's writers take badly
texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9)
cells = texts.filter(lambda text: text.strip())
rows = st.lists(st.dictionaries(st.sampled_from(NAMES), cells, min_size=2), min_size=1, max_size=6)


@pytest.mark.parametrize("container", CONTAINERS)
@settings(max_examples=20, deadline=None)
@given(rows, st.booleans())
def test_one_content_gives_equal_rows_in_every_container(place, container, content, is_packed):
    data = write_rows(container, content)
    place.write_bytes(packed(data) if is_packed else data)
    for size in SIZES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(characters, "_BYTES", size)
            found = list(file_rows(place))
    assert [row.value for row in found] == content
    assert {row.problem for row in found} == {None}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("container", ["jsonl", "csv", "tsv"])
def test_lines_of_any_encoding_and_end_are_read(place, monkeypatch, encoding, end, container):
    content = [ROW | {"problem": f"Was ist größer? {i}\N{BRAIN} A)x, B)y"} for i in range(3)]
    text = write_rows(container, content).decode().replace("\r\n", "\n")
    text = text.replace("\n", end) + end + " " + end
    place.write_bytes(text.encode(encoding))
    for size in SIZES:
        monkeypatch.setattr(characters, "_BYTES", size)
        assert [row.value for row in file_rows(place)] == content


def test_blank_lines_are_no_rows_and_the_name_says_nothing(tmp_path):
    line = json.dumps(ROW)
    path = tmp_path / "CT_test.csv"
    path.write_text(f"\n  \n{line}\n\n\n \t\n{line}")
    examples = load_examples(path, tmp_path)
    assert [example.id for example in examples] == ["CT_test-0", "CT_test-1"]
    assert {example.modality for example in examples} == {"CT"}


def test_a_broken_line_is_a_bad_row_with_its_line(tmp_path):
    path = tmp_path / "CT_test.jsonl"
    lines = [json.dumps(ROW), "", '{"image": "a.png", "prob', json.dumps(ROW), "oops", "[1]"]
    lines += ['{"a": 1} {"b": 2}', '{"a": 1, "a": 2}', "[" * 100_000, '{"image": "\ud800"}']
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    examples, bad = read_examples(path, tmp_path, skip_bad_rows=True)
    assert [example.id for example in examples] == ["CT_test-0", "CT_test-2"]
    reasons = {row.row: row.reason for row in bad}
    assert reasons[1] == "is not JSON (Unterminated string starting at: line 3, column 20)"
    assert reasons[3] == "is not JSON (Expecting value: line 5, column 1)"
    assert "no object" in reasons[4] or "not an object" in reasons[4]
    assert reasons[5] == "is not JSON (Extra data: line 7, column 10)"
    assert "more than once" in reasons[6]
    assert reasons[7] == "is nested too deeply (line 9)"
    assert "half a surrogate pair" in reasons[8]
    with pytest.raises(ValueError, match=r"7 of 9 rows .*\n.*CT_test.jsonl, row 1: .*line 3"):
        load_examples(path, tmp_path)


@pytest.mark.parametrize("depth", [150, 600, 900])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_a_row_nested_deeply_is_a_bad_row_wherever_rows_are_written(
    tmp_path, capsys, depth, brackets
):
    left, right = ("[", "]") if brackets == "[]" else ('{"a": ', "}")
    nested = left * depth + "1" + right * depth
    good = json.dumps(ROW)
    (tmp_path / "a.jsonl").write_text(f'{good}\n{good[:-1]}, "x": {nested}}}\n' + good)
    with pytest.raises(ValueError, match=r"row 1: .* nests more than 100 lists and"):
        load_examples(tmp_path / "a.jsonl", tmp_path)
    for to in ("jsonl", "parquet"):
        words = [str(tmp_path / "a.jsonl"), str(tmp_path / f"out.{to}"), "--to", to]
        assert convert([*words, "--show-bad-rows", str(tmp_path / "bad.jsonl")]) == 2
        assert convert([*words, "--skip-bad-rows"]) == 0
    (line,) = (tmp_path / "bad.jsonl").read_text().splitlines()
    assert json.loads(line)["row"] == 1
    assert "Traceback" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("first", ['{"a": 1,', "oops", '{"a": 1} more', "{"])
def test_a_first_line_that_is_broken_hides_no_whole_one(place, first):
    place.write_text(f"{first}\n{json.dumps(ROW)}\n")
    broken, whole = file_rows(place)
    assert "line 1" in broken.problem and whole.value == ROW and whole.problem is None


def lfs() -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


UNREADABLE = [
    (b"", "is empty: a JSON list, JSON Lines, CSV, TSV and parquet are read"),
    (b" \n\t\r\n ", "is empty"),
    (b"\xef\xbb\xbf", "is empty"),
    (b"rows = []", r"begins with 'rows = \[\]', as no data file does"),
    (b"image;problem;solution\na;b;c\n", "begins with 'image;problem;solution"),
    (b"\0" * 100, "is zeros: was it copied whole"),
    (b"[{}, \xe9]", r"is no text \(byte 5: it is no utf-8\): save it as UTF-8"),
    (b"a,b\n1,\xe9", r"is no text \(byte 6: "),
    (b"PK\x03\x04....", "is a zip file, as .xlsx is"),
    (b"ARROW1\0\0", "is an Arrow file"),
    (b"<!DOCTYPE html>", "is an HTML page, not the file itself"),
    (lfs(), "is a Git LFS pointer: fetch"),
    (b"\x89PNG\r\n\x1a\n", "is a picture"),
    (gzip.compress(gzip.compress(b"[{}]", mtime=0), mtime=0), "is packed with gzip twice"),
    (gzip.compress(b"[" + b"{}, " * 99, mtime=0)[:-9], "is a broken gzip file .*: fetch it again"),
    (b"\x1f\x8b", "is a broken gzip file"),
    (b"\x1f\x8b\x08\x00garbage.garbage.garbage", "is a broken gzip file"),
    (b'{"data":\n [{"a": 1}]\n}', r"holds a JSON dict, not a list: put its rows in \[\], or one"),
    (b'{"a":\n 1}\n{"a":\n 2}', "is no JSON Lines: its first row goes on for several lines"),
    (b'{"a": 1} {"a": 2}', r"is not JSON \(Extra data: line 1, column 10\): its rows must be"),
    (b'{"a": tru}\n{"b": ', r"is not JSON \(Expecting value: line 1, column 7\)"),
    (b'"a"', "holds a JSON str, not a list"),
    (b"3", "holds a JSON int, not a list"),
    (b"image,problem,image\na,b,c\n", "has a header that names 'image' more than once"),
    (b"image,problem\n", "holds a header and no row"),
    (b'"image,problem\n1,2\n', r"has a header that is not CSV \(unexpected end of data\)"),
    (b"[]", "is an empty list"),
]


@pytest.mark.parametrize(("content", "words"), UNREADABLE)
@pytest.mark.parametrize("size", [3, 1 << 20])
def test_what_is_no_data_file_is_named(place, monkeypatch, content, words, size):
    monkeypatch.setattr(characters, "_BYTES", size)
    place.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^data file .*CT_train\.data {words}") as caught:
        list(file_rows(place))
    assert len(str(caught.value)) < 400
    if not content.startswith(b"\x1f\x8b"):
        place.write_bytes(gzip.compress(content))
        with pytest.raises(ValueError, match=words):
            list(file_rows(place))


def test_what_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere does not exist: check the path"):
        list(file_rows(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        list(file_rows(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="it is a named pipe, and a regular file is needed"):
        list(file_rows(tmp_path / "pipe"))


def test_a_table_is_read_cell_by_cell(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        'index, image ,"the ""question""",empty\n'
        '0,a.png,"one, two\nthree\r\n""four""",\n'
        "\n,,,\n"
        "1,b.png,x,  \n"
    )
    assert [row.value for row in file_rows(path)] == [
        {"index": "0", "image": "a.png", 'the "question"': 'one, two\nthree\r\n"four"'},
        {"index": "1", "image": "b.png", 'the "question"': "x"},
    ]
    path.write_text("\timage\tquestion\n0\ta.png\tone, two\n")  # an index without a name
    assert [row.value for row in file_rows(path)] == [{"image": "a.png", "question": "one, two"}]


def test_a_row_of_a_table_that_is_broken_is_a_bad_row_with_its_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        'image,problem\na.png,"two\nlines"\nb.png\nc.png,x,y\nd.png,"x"y\ne.png,z\nf.png,"open\n\n'
    )
    found = list(file_rows(path))
    assert [row.value for row in found if row.problem is None] == [
        {"image": "a.png", "problem": "two\nlines"},
        {"image": "e.png", "problem": "z"},
    ]
    assert [row.problem for row in found if row.problem] == [
        "has 1 cell, and the header names 2 columns (line 4): quote cells that hold what stands"
        " between others",
        "has 3 cells, and the header names 2 columns (line 5): quote cells that hold what stands"
        " between others",
        "is not CSV (',' expected after '\"': line 6)",
        "is not CSV (a quote is never closed: line 8)",
    ]
    assert found[-1].value == 'f.png,"open'
    path.write_text('image,problem\na.png,x\nb.png,"open\nc.png,y\nd.png,"z"\ne.png,x\nf.png,z\0\n')
    whole, merged, last, cut = file_rows(path)
    assert whole.problem is last.problem is None and last.value["image"] == "e.png"
    assert merged.problem.endswith(
        "(',' expected after '\"': lines 3 to 5, one row by their quotes)"
    )
    assert cut.problem == "(problem) holds a NUL, which is in no text: was the file copied whole?"
    path.write_bytes(b"image,problem\n\xed\xa0\x80,x\n")
    (row,) = file_rows(path)
    assert row.problem == "(image) holds half a surrogate pair: not valid Unicode"


def test_a_quote_that_is_never_closed_loses_no_row_without_a_word(tmp_path):
    (tmp_path / "a.tsv").write_text(
        'image\tproblem\na.png\tx\nb.png\t"open\nc.png\ty\nd.png\tz\n\n'
    )
    words = (
        "a quote of its row of line 3 is never closed, and makes all lines to the last, 5, one row"
    )
    with pytest.raises(ValueError, match=words):
        read_examples(tmp_path / "a.tsv", tmp_path, skip_bad_rows=True)


def test_cells_are_as_long_as_a_picture_and_no_row_is_without_end(tmp_path, monkeypatch):
    path = tmp_path / "a.tsv"
    path.write_text(f"image\tquestion\n{'A' * 3_000_000}\tx\n")
    (row,) = file_rows(path)
    assert len(row.value["image"]) == 3_000_000
    assert csv.field_size_limit() >= characters.LONGEST_ROW
    for module in ("table_rows", "characters"):
        monkeypatch.setattr(f"data.reading.{module}.LONGEST_ROW", 3000)
    monkeypatch.setattr(characters, "_BYTES", 100)
    for rest in (',"a' + "\n" * 5000, "\n" + '0,"' + "b\n" * 5000, "\n" + "c" * 9000):
        path.write_text("image,question" + rest)
        with pytest.raises(ValueError, match=r"cannot be read: its (row of )?line \d+ has more"):
            list(file_rows(path))
    for content in (" " * 9000, '{"a": 1}\n{"a": "' + "x" * 9000):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"more than 3,000"):
            list(file_rows(path))


def test_what_unpacks_to_a_flood_is_refused_and_never_held(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacked, "_HARMLESS", 1 << 20)
    for content in (b" ", b"\n", b'{"a": "', b"[" * 9 + b"1,", b"a,b\n", b"PAR1"):
        path = tmp_path / "bomb"
        path.write_bytes(gzip.compress(content + b" " * (16 << 20), 9))
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match="unpacks to more than 200 times its"):
                list(file_rows(path))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 12 << 20, content
    text = "".join(json.dumps({"n": i, "x": f"{i * i}"}) + "\n" for i in range(60_000))
    path.write_bytes(gzip.compress(text.encode()))
    assert sum(1 for _ in file_rows(path)) == 60_000


def test_a_line_on_its_own_is_read_in_little_memory(tmp_path):
    path = tmp_path / "CT_train.jsonl"
    with path.open("w") as stream:
        for number in range(10_000):
            row = ROW | {"problem": f"What is shown in this picture? {'x' * 900} A)CT{number}, B)b"}
            stream.write(json.dumps(row) + "\n")
    list(file_rows(path))
    tracemalloc.start()
    try:
        count = sum(1 for _ in file_rows(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 10_000 and peak < 8 << 20 < path.stat().st_size


def test_memory_that_runs_out_is_called_that_with_the_row(place, monkeypatch):
    place.write_text("image,problem\na,b\nc,d\n")

    def full(cell):
        if cell == "c":
            raise MemoryError
        return False

    monkeypatch.setattr("data.reading.table_rows._is_blank", full)
    with pytest.raises(MemoryRanOutError, match="memory ran out while row 1 of data file"):
        list(file_rows(place))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_spoiled_file_is_read_or_named_and_nothing_else(place, data):
    container = data.draw(st.sampled_from(CONTAINERS))
    content = bytearray(write_rows(container, [ROW, ROW | {"note": 'a,"b"\n\t'}]))
    if data.draw(st.booleans()):
        content = bytearray(packed(bytes(content)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not content:
            content = bytearray(b"\xff")
    place.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        parse_rows(place, place.parent)
    except ValueError as error:
        assert str(error).startswith("data file ")


def test_published_rows_are_equal_as_jsonl_packed_csv_and_parquet(tmp_path):
    file = SHARED / "omnimedvqa_splits" / "test" / "Dermoscopy_test.json"
    if not file.exists():
        pytest.skip("the published splits are not here")
    images = tmp_path / "images"
    published = load_examples(file, images)
    content = json.loads(file.read_text(encoding="utf-8"))
    for name, container in (("jsonl", "jsonl"), ("csv.gz", "csv"), ("parquet", "parquet")):
        data = write_rows(container, content)
        path = tmp_path / f"Dermoscopy_test.{name}"
        path.write_bytes(packed(data) if name.endswith("gz") else data)
        read = [vars(example) | {"source": ""} for example in load_examples(path, images)]
        assert read == [vars(example) | {"source": ""} for example in published], name


def test_a_table_with_pictures_is_read_as_vlmevalkit_writes_it(tmp_path):
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    text = base64.b64encode(os.urandom(200_000)).decode()
    writer.writerows([["index", "image", "question"], ["7", text, "What\tis\nit?"]])
    (tmp_path / "a.tsv").write_text(buffer.getvalue())
    (row,) = file_rows(tmp_path / "a.tsv")
    assert row.value == {"index": "7", "image": text, "question": "What\tis\nit?"}
