"""--show-bad-rows: every row that cannot be used is written whole, and nothing is written over."""

import json
import os

import pytest

from data.faults import Fault
from data.images import MISSING
from data.reading.bad_rows_file import showing_bad_rows
from data.sources import BadRowsError, Wanted, load_splits
from process.ranks.place import Place

pytestmark = pytest.mark.unit

GOOD = {"image": "a.png", "problem": "Which? A)x, B)y", "solution": "<answer> A </answer>"}


def rows(tmp_path, name="rows.json", bad=7):
    """Write one good row and some that are bad each in its own way; return the file."""
    kinds = [{**GOOD, "solution": "E\x1b[2J"}, {**GOOD, "problem": 3}, ["no", "object"]]
    found = [GOOD] + [kinds[number % 3] for number in range(bad)]
    file = tmp_path / name
    file.write_text(json.dumps(found), encoding="utf-8")
    return str(file)


def load(*files, tmp_path, skip=True, faults=None):
    find = None if faults is None else (lambda _examples: faults)
    parts = {"train": Wanted(files, find)}
    return load_splits(parts, image_root=tmp_path, skip_bad_rows=skip)["train"]


def lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_all_of_them_are_written_whole_also_where_the_command_then_ends(tmp_path, capsys):
    file, shown = rows(tmp_path), tmp_path / "bad.jsonl"
    with showing_bad_rows(str(shown)), pytest.raises(BadRowsError) as caught:
        load(file, tmp_path=tmp_path, skip=False)
    assert "and 2 more: --show-bad-rows FILE writes all of them" in str(caught.value)
    assert [e.id for e in caught.value.splits["train"].examples] == ["rows-0"]
    found = lines(shown)
    assert [row["row"] for row in found] == [1, 2, 3, 4, 5, 6, 7]
    assert list(found[0]) == ["file", "row", "value", "reason", "raw"]
    assert found[0]["raw"]["solution"] == "E\x1b[2J" and found[2]["raw"] == ["no", "object"]
    assert found[0]["file"] == file and found[0]["reason"]
    assert "\x1b" not in shown.read_text()  # read back as it was, printed as an escape
    assert f"{shown}: 7 bad rows" in capsys.readouterr().out


def test_rows_with_a_fault_have_their_own_row_too_and_files_come_together(tmp_path):
    first, second = rows(tmp_path, "one.json", bad=1), rows(tmp_path, "two.json", bad=0)
    shown = tmp_path / "bad.jsonl"
    with showing_bad_rows(str(shown)):
        load(first, tmp_path=tmp_path)
        assert len(lines(shown)) == 1
        fault = {"two-0": Fault.of_image("a.png", MISSING)}
        with pytest.raises(BadRowsError, match="1 of 1 image files are missing"):
            load(second, tmp_path=tmp_path, faults=fault)
    assert [(row["file"], row["row"]) for row in lines(shown)] == [(first, 1), (second, 0)]
    assert lines(shown)[1] == {
        "file": second,
        "row": 0,
        "value": "image a.png",
        "reason": MISSING,
        "raw": GOOD,
    }


def test_without_a_bad_row_it_is_empty_and_outside_the_block_nothing_is_written(tmp_path):
    file, shown = rows(tmp_path, bad=0), tmp_path / "bad.jsonl"
    with showing_bad_rows(str(shown)):
        load(file, tmp_path=tmp_path)
    assert shown.read_bytes() == b""
    shown.unlink()
    load(file, tmp_path=tmp_path)
    with showing_bad_rows(None):
        load(file, tmp_path=tmp_path)
    assert not shown.exists()


def test_an_earlier_one_is_replaced_and_nothing_else_is(tmp_path):
    file, shown = rows(tmp_path), tmp_path / "bad.jsonl"
    for bad in (7, 2):
        with showing_bad_rows(str(shown)):
            load(rows(tmp_path, bad=bad), tmp_path=tmp_path)
        assert len(lines(shown)) == bad
    before = (tmp_path / "rows.json").read_bytes()
    for other in (file, str(tmp_path), str(tmp_path / "no" / "bad.jsonl")):
        with pytest.raises(ValueError, match="--show-bad-rows"), showing_bad_rows(other):
            pytest.fail("the block was entered")
    assert (tmp_path / "rows.json").read_bytes() == before


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="name a new file"), showing_bad_rows(f"{tmp_path}/pipe"):
        pytest.fail("the block was entered")


def test_of_several_processes_the_first_writes(tmp_path, monkeypatch):
    monkeypatch.setattr("data.reading.bad_rows_file.place", lambda: Place(rank=1, size=2))
    with showing_bad_rows(str(tmp_path / "bad.jsonl")):
        load(rows(tmp_path), tmp_path=tmp_path)
    assert not (tmp_path / "bad.jsonl").exists()


def test_a_phantom_stands_in_no_file(tmp_path):
    shown = tmp_path / "bad.jsonl"
    fault = Fault("'Which?'", "has a prompt of 900 tokens")
    with showing_bad_rows(str(shown)):
        parts = {"train": Wanted(["phantoms:CT"], lambda examples: {examples[3].id: fault})}
        load_splits(parts, image_root=None, skip_bad_rows=True)
    (line,) = lines(shown)
    assert line["row"] == 3 and line["raw"] is None and line["reason"] == fault.reason
