"""The audit and new splits of rows that hold their pictures: each is told from the others."""

import base64
import io
import json

import pytest

from data import load_examples
from data.audit.__main__ import main as audit
from data.splits.__main__ import main as split
from tests.data.audit.test_hashes import picture
from tests.data.reading.containers import packed, write_rows


def png(number: int, side: int = 48) -> bytes:
    content = io.BytesIO()
    picture(number).resize((side, side)).save(content, "PNG")
    return content.getvalue()


def rows(numbers, container: str, side: int = 48) -> list[dict]:
    """One question about one picture each, which alone tells the rows apart."""
    found = []
    for number in numbers:
        content = png(number, side)
        image = base64.b64encode(content).decode()
        if container == "parquet":
            image = {"bytes": content, "path": "a.png"}  # one name for all of them
        asked = {"question": "Is there a lesion?", "answer": ("yes", "no")[number % 2]}
        found.append({"image": image, **asked})
    return found


@pytest.fixture(params=["parquet", "tsv", "jsonl", "csv", "json"])
def pair(tmp_path, request):
    """20 training rows and 10 test rows, four of which show a picture of train."""
    for name, numbers in (("CT_train", range(20)), ("CT_test", range(16, 26))):
        content = write_rows(request.param, rows(numbers, request.param))
        (tmp_path / f"{name}.{request.param}.gz").write_bytes(packed(content))
    return [str(tmp_path / f"CT_{part}.{request.param}.gz") for part in ("train", "test")]


def test_the_audit_sees_the_pictures_that_train_and_test_share(pair, tmp_path, capsys):
    for folder, flags in (("a", []), ("b", ["--image-root", str(tmp_path)])):
        assert audit([*pair, *flags, "--output-dir", str(tmp_path / folder)]) == 0
        report = json.loads((tmp_path / folder / "audit.json").read_text())
        assert [facts["images"] for facts in report["files"].values()] == [20, 10]
        found = report["pairs"]["CT_test"]["images"]
        assert (found["same_image"], found["same_question"]) == (4, 4)
    assert found["found"] == 26 and found["same_content"] == 4 and not found["missing"]
    assert "4 (40.0 %) of 10 test rows show an image of their own train" in " ".join(
        capsys.readouterr().out.split()
    )


def test_new_splits_keep_every_picture_and_share_none(pair, tmp_path):
    for folder, flags in (("a", []), ("b", ["--image-root", str(tmp_path)])):
        out = tmp_path / folder
        assert split([*pair, *flags, "--output-dir", str(out)]) == 0
        report = json.loads((out / "splits.json").read_text())
        assert report["rows"]["dropped"] == {"exact copy of another row": {"CT": 4}}
        parts = [load_examples(out / f"CT_{part}.json", tmp_path) for part in ("train", "test")]
        assert [len(part) for part in parts] == [21, 5]
        shown = [{e.image_names for e in part} for part in parts]
        assert len(shown[0] | shown[1]) == 26 and not shown[0] & shown[1]


def test_nearly_equal_pictures_that_rows_hold_stay_together(tmp_path):
    both = rows(range(10), "parquet") + rows(range(10), "parquet", 96)
    (tmp_path / "CT_train.parquet").write_bytes(write_rows("parquet", both))
    out = tmp_path / "out"
    flags = ["--image-root", str(tmp_path), "--output-dir", str(out), "--allow-unpaired"]
    assert split([str(tmp_path / "CT_train.parquet"), *flags]) == 0
    report = json.loads((out / "splits.json").read_text())
    assert report["groups"]["count"] == 10 and report["rows"]["train"] == 16
    assert report["images_missing"] == report["images_broken"] == 0


def test_rows_whose_keys_alone_differ_are_no_copies_of_each_other(tmp_path):
    asked = [{"question": f"How many, {n}?", "answer": str(n)} for n in range(10)]
    exact = [row | {"tolerance": 0} for row in asked]
    (tmp_path / "a.json").write_text(json.dumps([row | {"tolerance": 2} for row in asked] + exact))
    assert split([str(tmp_path / "a.json"), "--output-dir", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "splits.json").read_text())
    assert report["rows"] == {"read": 20, "train": 16, "test": 4, "dropped": {}}
