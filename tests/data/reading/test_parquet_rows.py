"""Parquet files: rows as JSON has them, a few in memory at a time; one message without pyarrow."""

import datetime
import decimal
import gzip
import re
import sys
from io import BytesIO

import numpy as np
import pyarrow
import pytest
from PIL import Image

from data.images import load_image
from data.reading import parquet_rows
from data.reading.image_paths import ImageRoot
from data.reading.row_images import image_source
from data.reading.rows import file_rows
from tests.data.reading.containers import parquet


@pytest.fixture
def place(tmp_path):
    return tmp_path / "a.parquet"


def test_nested_values_are_those_of_json_and_nulls_are_absent(place):
    content = b"\x89PNG..."
    place.write_bytes(
        parquet(
            {
                "images": [[{"bytes": content, "path": None}], None, []],
                "options": [{"A": "x", "B": "y", "E": None}, None, {"A": "z", "B": "", "E": "e"}],
                "label": [["B"], None, []],
                "when": [datetime.date(2026, 1, 2), None, datetime.date(1, 1, 1)],
                "at": [datetime.datetime(2026, 1, 2, 3, 4), None, None],
                "took": [datetime.timedelta(seconds=90), None, None],
                "weight": [decimal.Decimal("1.50"), None, None],
                "n": [1, None, 3],
                "x": [1.5, None, 2.5],
                "yes": [True, None, False],
            }
        )
    )
    first, second, third = (row.value for row in file_rows(place))
    assert first == {
        "images": [{"bytes": content}],
        "options": {"A": "x", "B": "y"},
        "label": ["B"],
        "when": "2026-01-02",
        "at": "2026-01-02T03:04:00",
        "took": 90.0,
        "weight": "1.50",
        "n": 1,
        "x": 1.5,
        "yes": True,
    }
    assert second == {}
    assert third["options"] == {"A": "z", "B": "", "E": "e"} and third["images"] == []


def test_maps_are_objects(place):
    kind = pyarrow.map_(pyarrow.string(), pyarrow.string())
    place.write_bytes(parquet({"options": pyarrow.array([[("A", "x"), ("B", "y")]], kind)}))
    (row,) = file_rows(place)
    assert row.value == {"options": {"A": "x", "B": "y"}}


def test_pictures_of_one_large_row_group_are_never_all_in_memory(place, tmp_path):
    pictures = []
    for number in range(60):
        pixels = np.random.default_rng(number).integers(0, 256, (250, 300, 3), np.uint8)
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, format="BMP")
        pictures.append(buffer.getvalue())
    columns = {"image": [{"bytes": one, "path": "a.bmp"} for one in pictures]}
    # pages of four pictures: a page is what is unpacked at one time
    place.write_bytes(parquet(columns, use_dictionary=False, write_batch_size=4))
    assert place.stat().st_size > 13_000_000
    del columns
    root, sources, most = ImageRoot(tmp_path), [], 0
    before = pyarrow.total_allocated_bytes()
    for row in file_rows(place):
        sources.append(image_source(row.value["image"], root))
        most = max(most, pyarrow.total_allocated_bytes() - before)
    assert len({str(source) for source in sources}) == 60
    assert 0 < most < 8 << 20
    for number in (59, 0, 31):
        expected = np.random.default_rng(number).integers(0, 256, (250, 300, 3), np.uint8)
        assert np.array_equal(np.asarray(load_image(sources[number], 0)), expected)


def test_a_packed_one_and_one_of_many_row_groups_are_read(place):
    place.write_bytes(gzip.compress(parquet({"n": list(range(50))}, row_group_size=7)))
    assert [row.value["n"] for row in file_rows(place)] == list(range(50))


def test_a_broken_one_is_named(place):
    whole = parquet({"n": list(range(50)), "text": [f"text {i}" for i in range(50)]})
    cases = [
        whole[:-40],
        whole[: len(whole) // 2],
        b"PAR1",
        b"PAR1" * 9,
        whole[:20] + b"\xff" * 30 + whole[50:],
    ]
    for content in cases:
        place.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.parquet cannot be read as parquet \(.*fetch it"):
            list(file_rows(place))
    place.write_bytes(parquet({"n": pyarrow.array([], pyarrow.int64())}))
    with pytest.raises(ValueError, match="holds no row"):
        list(file_rows(place))
    two = pyarrow.table([pyarrow.array([1]), pyarrow.array([2])], names=["x", "x"])
    pyarrow.parquet.write_table(two, place)
    with pytest.raises(ValueError, match=r"a\.parquet has several columns that are called 'x'"):
        list(file_rows(place))


def test_without_pyarrow_one_message_names_the_extra_and_other_files_are_read(
    place, monkeypatch, tmp_path
):
    place.write_bytes(parquet({"n": [1]}))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    words = r"is a parquet file, and parquet files need the library pyarrow .*: install it with: "
    with pytest.raises(ValueError, match=words + r".*pip install.*\(it is the extra \[parquet\]\)"):
        list(file_rows(place))
    (tmp_path / "a.jsonl").write_text('{"n": 1}')
    assert len(list(file_rows(tmp_path / "a.jsonl"))) == 1


def test_a_full_temporary_folder_is_named(place, monkeypatch):
    place.write_bytes(gzip.compress(parquet({"n": [1]})))

    class Full(BytesIO):
        def write(self, *_):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet_rows, "TemporaryFile", lambda **_: Full())
    with pytest.raises(ValueError, match=r"temporary folder .* \(No space left .*TMPDIR"):
        list(file_rows(place))


def test_the_extra_and_the_message_name_one_version():
    from tests.places import ROOT

    text = (ROOT / "setup.cfg").read_text()
    assert re.findall(r"parquet = (.+)", text) == [parquet_rows.NEEDED]
