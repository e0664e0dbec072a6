"""What a parquet file's cells are: JSON's values whatever pyarrow can write, row by row."""

import json
from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow
import pytest

from data.reading.rows import file_rows
from tests.data.reading.containers import parquet

NANO = pyarrow.timestamp("ns")
CASES = {
    "times of nanoseconds": (pyarrow.array([1500], NANO), "1970-01-01T00:00:00.000001500"),
    "those of microseconds": (pyarrow.array([1000], NANO), "1970-01-01T00:00:00.000001"),
    "nested ones": (
        pyarrow.array([{"at": [1]}], pyarrow.struct([("at", pyarrow.list_(NANO))])),
        {"at": ["1970-01-01T00:00:00.000000001"]},
    ),
    "a time of day": (pyarrow.array([1], pyarrow.time64("ns")), "00:00:00.000000001"),
    "a duration": (pyarrow.array([1500], pyarrow.duration("ns")), 1.5e-6),
    "a late year": (pyarrow.array([10**7], pyarrow.date32()), "29349-01-26"),
    "a long number": (pyarrow.array([Decimal("1.10")]), "1.10"),
    "a half": (pyarrow.array(np.array([1.5], np.float16)), 1.5),
    "a large integer": (pyarrow.array([2**64 - 1], pyarrow.uint64()), 2**64 - 1),
    "a map of numbers": (
        pyarrow.array([[(1, "a")]], pyarrow.map_(pyarrow.int64(), pyarrow.string())),
        {"1": "a"},
    ),
    "a map of dates": (
        pyarrow.array([[(date(2020, 1, 2), 5)]], pyarrow.map_(pyarrow.date32(), pyarrow.int64())),
        {"2020-01-02": 5},
    ),
    "a map of two equal keys": (
        pyarrow.array([[("k", "a"), ("k", "b")]], pyarrow.map_(pyarrow.string(), pyarrow.string())),
        [["k", "a"], ["k", "b"]],
    ),
    "a coded text": (pyarrow.array(["a"]).dictionary_encode(), "a"),
}


@pytest.mark.parametrize("name", CASES)
def test_every_cell_is_what_json_can_hold(tmp_path, name):
    column, value = CASES[name]
    (tmp_path / "a.parquet").write_bytes(parquet({"a": column}))
    (row,) = file_rows(tmp_path / "a.parquet")
    assert row.problem is None and row.value == {"a": value}
    assert json.loads(json.dumps(row.value)) == row.value


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pyarrow.array([b"a", b"\xff", None]).view(pyarrow.string()), "'utf-8' codec can't decode"),
        (pyarrow.array([1, 2**55, None], pyarrow.timestamp("ms")), "value out of range"),
    ],
)
def test_a_cell_that_cannot_be_read_is_its_rows_fault_and_the_others_are_read(
    tmp_path, column, reason
):
    (tmp_path / "a.parquet").write_bytes(parquet({"n": [1, 2, 3], "when\x1b": column}))
    rows = list(file_rows(tmp_path / "a.parquet"))
    assert [row.value["n"] for row in rows] == [1, 2, 3]
    assert [bool(row.problem) for row in rows] == [False, True, False]
    assert rows[1].problem.startswith(r"(when\x1b) holds what cannot be read: ")
    assert reason in rows[1].problem and "when\x1b" not in rows[2].value
