"""A list's rows come one by one: those of json, in little memory, each fault with its place."""

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.reading import characters, json_values
from data.reading.readers import load_examples, read_examples
from data.reading.rows import file_rows as rows_of
from process.memory import MemoryRanOutError

ROW = {"image": "a.png", "problem": "What? A)CT, B)MRI", "solution": "<answer> A </answer>"}
GOOD = json.dumps(ROW)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("rows") / "CT_train.json"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside),
    max_leaves=6,
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@settings(max_examples=12, deadline=None)
@given(st.lists(values, min_size=1, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_rows_are_those_of_json_wherever_a_piece_ends(place, encoding, rows, escaped, indent):
    content = json.dumps(rows, ensure_ascii=escaped, indent=indent).encode(encoding)
    place.write_bytes(content)
    for size in (1, 7, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(characters, "_BYTES", size)
            assert [row.value for row in rows_of(place)] == json.loads(content)


def test_numbers_and_names_at_the_end_of_a_piece_are_read_whole(place, monkeypatch):
    monkeypatch.setattr(characters, "_BYTES", 1)
    place.write_text("[1234567, -1.5e10, NaN, -Infinity, true, null]")
    found = [repr(row.value) for row in rows_of(place)]
    assert found == ["1234567", "-15000000000.0", "nan", "-inf", "True", "None"]


def test_half_a_surrogate_pair_as_bytes_is_read_wherever_a_piece_ends(place):
    for size in range(1, 9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(characters, "_BYTES", size)
            place.write_bytes(b'[{"a": "\xed\xa0\x80"}]')
            (row,) = rows_of(place)
            assert row.problem == "(a) holds half a surrogate pair: not valid Unicode"


BROKEN = [
    ("[{}, {},]", "a row is missing: row 2, line 1, column 9"),
    ("[{}\n{}]", "',' or ']' is missing: behind row 0, line 2, column 1"),
    ('[{},\n\n{"a": 1,}]', "property name.*: row 1, line 3, column 9"),
    ('[{"a": 1', "Expecting ',' delimiter: row 0, line 1, column 9"),
    ('[{"a": "x}]', "Unterminated string.*: row 0, line 1, column 8"),
    ('[{"a": tru}]', "Expecting value: row 0, line 1, column 8"),
    ('[{"a": "\x01"}]', "Invalid control character at: row 0"),
    ("[{}", "',' or ']' is missing: behind row 0, line 1, column 4"),
    ("[{}] []", "Extra data: behind the list, line 1, column 6"),
    ("[{}, " + "[" * 100_000, "it is nested too deeply: row 1"),
]


@pytest.mark.parametrize(("content", "words"), BROKEN)
@pytest.mark.parametrize("size", [3, 1 << 20])
def test_what_is_no_json_is_named_by_file_row_line_and_column(
    place, monkeypatch, content, words, size
):
    monkeypatch.setattr(characters, "_BYTES", size)
    place.write_text(content)
    with pytest.raises(ValueError, match=rf"data file .*CT_train\.json is not JSON.*{words}"):
        list(rows_of(place))


def test_a_row_that_is_never_closed_is_not_read_to_the_end_of_the_file(place, monkeypatch):
    monkeypatch.setattr(json_values, "LONGEST_ROW", 3000)
    monkeypatch.setattr(characters, "_BYTES", 100)
    for opening in ('{"a": "', '{"a": [1, ', "[["):
        place.write_text(f"[{{}}, {opening}" + "1," * 100_000)
        with pytest.raises(ValueError, match=r"more than 3,000 characters.*: row 1, line 1") as no:
            list(rows_of(place))
        assert len(str(no.value)) < 400


FAULTS = [
    (GOOD[:-1] + ', "image": "b.png"}', "has the field 'image' more than once: keep one of them"),
    (GOOD[:-1] + ', "more": {"x": 1, "x": 1}}', "has the field 'x' more than once"),
    (GOOD[:-1] + ', "n": ' + "9" * 5000 + "}", "holds a number of 5,000 digits"),
    *(
        (json.dumps(ROW | {field: "x\ud83d"}), rf"\({field}\) holds half a surrogate pair")
        for field in ("image", "problem", "solution", "dataset", "question_id", "modality_type")
    ),
    (json.dumps(ROW | {"more": {"deep": ["x", {"y": "\udc00"}]}}), r"\(more\) holds half a surr"),
    (json.dumps(ROW | {"\udc00": 1}), r"\(\\udc00\) holds half a surrogate pair"),
    (json.dumps(ROW | {"more": float("inf")})[:-1] + ', "problem": 1e999}', "more than once"),
    (json.dumps(ROW | {"problem": float("nan")}), r"\(problem\) is not a text"),
    (
        json.dumps(ROW | {"image": [0]}).replace("0", "[" * 400 + "]" * 400),
        "nests more than 100 lists and objects",
    ),
]


@pytest.mark.parametrize(("row", "words"), FAULTS)
def test_a_row_at_fault_is_named_counted_and_can_be_left_out(tmp_path, row, words):
    path = tmp_path / "CT_train.json"
    path.write_text(f"[{GOOD}, {row}, {GOOD}]")
    with pytest.raises(ValueError, match=f"CT_train.json, row 1: .*{words}") as caught:
        load_examples(path, tmp_path)
    str(caught.value).encode()
    examples, bad_rows = read_examples(path, tmp_path, skip_bad_rows=True)
    assert [example.id for example in examples] == ["CT_train-0", "CT_train-2"]
    assert [bad.row for bad in bad_rows] == [1]


def test_whole_surrogate_pairs_are_characters(place):
    place.write_text(json.dumps([ROW | {"problem": "\U0001f600? A)CT, B)MRI"}]))
    (row,) = rows_of(place)
    assert row.problem is None and row.value["problem"].startswith("\U0001f600")


def test_a_reason_is_short_whatever_a_row_holds(tmp_path):
    path = tmp_path / "CT_train.json"
    options = {f"option_{letter}": letter * 100_000 for letter in "ABCD"}
    row = {"image_path": "a.png", "question": "What?", "gt_answer": "E", **options}
    path.write_text(json.dumps([ROW, row]))
    _, (bad,) = read_examples(path, tmp_path, skip_bad_rows=True)
    assert len(bad.reason) <= 1000 and "is no option" in bad.reason


def test_memory_that_runs_out_is_called_that_with_the_row(place, monkeypatch):
    place.write_text(f"[{GOOD}, {GOOD}]")
    real = json.JSONDecoder.raw_decode

    def full(self, text, at):
        if at > 20:
            raise MemoryError
        return real(self, text, at)

    monkeypatch.setattr(json.JSONDecoder, "raw_decode", full)
    with pytest.raises(MemoryRanOutError, match="memory ran out while row 1 of data file"):
        list(rows_of(place))


def test_the_peak_is_within_twice_what_the_examples_need(tmp_path):
    path = tmp_path / "CT_train.json"
    problem = "What is shown in this picture of a long series? " * 20 + "A)CT {0}, B)MRI, C)PET {0}"
    rows = [ROW | {"problem": problem.format(n), "image": f"{n}.png"} for n in range(6000)]
    path.write_text(json.dumps(rows))
    del rows
    load_examples(path, tmp_path)  # what is loaded once
    tracemalloc.start()
    try:
        examples = load_examples(path, tmp_path)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(examples) == 6000 and held > 6_000_000
    assert peak <= 2 * held
    # a piece of the file, decoded, and one row of it
    assert peak - held < 6 << 20
