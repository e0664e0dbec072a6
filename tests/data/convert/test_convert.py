"""What is converted reads back as the same examples, from whichever form and container it came."""

import base64
import dataclasses
import json
import signal
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.convert import json_lines
from data.convert.__main__ import main
from data.examples import VQAExample
from data.held_images import HeldImage
from data.images import open_images
from data.reading.families.own import MARK, OWN, STATED
from data.reading.readers import load_examples, read_examples
from process.signals import requests
from tests.data.reading.containers import CONTAINERS, parquet, write_rows
from tests.places import ROOT, SHARED

ROW = {"image": "a.png", "problem": "What? A)CT, B)MRI", "solution": "<answer> A </answer>"}
TARGETS = ("jsonl", "parquet")


def convert(*words: object, status: int = 0) -> None:
    assert main([str(word) for word in words]) == status


def content(example: VQAExample) -> tuple:
    """All that an example says but where it stands, with its other fields."""
    bare = dataclasses.replace(example, id="", source="", fields={}, family="")
    fields = {name: value for name, value in example.fields.items() if name != "original_id"}
    return bare, fields


def picture(number: int, format: str = "PNG") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 12, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format=format)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("convert")


texts = st.text(st.characters(codec="utf-8", exclude_characters="<|>"), max_size=9)
words = texts.map(lambda text: f"a{text}z")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inside: st.lists(inside, max_size=2) | st.dictionaries(texts, inside, max_size=2),
    max_leaves=4,
)  # fmt: skip
names = texts | st.sampled_from(["split", "images", "answer", "options", "modality", "fields"])
labels = {
    "modality": st.sampled_from(["CT", "X-Ray", "unknown"]),
    "question_type": st.sampled_from(["Lesion Grading", "unknown"]),
    "dataset": words,
    "system": st.just("") | words,
}
keys = st.one_of(
    st.builds(
        lambda options, at: {
            "form": "letter",
            "options": [f"{i} {one}" for i, one in enumerate(options)],
            "answer": "ABCD"[at % len(options)],
        },
        st.lists(words, min_size=2, max_size=4),
        st.integers(0, 3),
    ),
    st.sampled_from("AB").map(
        lambda answer: {"form": "yes_no", "options": ["Yes", "No"], "answer": answer}
    ),
    st.builds(
        lambda first, others: {"form": "text", "answer": first, "accepted": others},
        st.sampled_from(["heart", "left lung"]),
        st.lists(st.sampled_from(["cor", "the heart muscle"]), max_size=2, unique=True),
    ),
    st.builds(
        lambda number, least: {
            "form": "number",
            "answer": str(number),
            "absolute_tolerance": least,
        },
        st.integers(0, 99),
        st.sampled_from([0.0, 0.5]),
    ),
)


@st.composite
def own_rows(draw):
    key = draw(keys)
    row = draw(st.dictionaries(names.filter(lambda name: name not in OWN.used), json_values))
    mark = {"version": 1, "form": key["form"]} | draw(st.fixed_dictionaries({}, optional=labels))
    mark |= {name: key[name] for name in ("accepted", "absolute_tolerance") if name in key}
    if draw(st.booleans()):
        mark["fields"] = {"images": draw(json_values), "answer": draw(json_values)}
    images = draw(st.lists(st.sampled_from(["a.png", "Images/b c/ü.png"]), max_size=3))
    ours = {"images": images, "question": draw(words), "answer": key["answer"], MARK: mark}
    return row | ours | ({"options": key["options"]} if "options" in key else {})


@pytest.mark.parametrize("to", TARGETS)
@settings(max_examples=25, deadline=None)
@given(rows=st.lists(own_rows(), min_size=1, max_size=4))
def test_any_example_reads_back_as_it_was(place, to, rows):
    first, second = place / "MRI_train.jsonl", place / f"CT_test.{to}"
    first.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    second.unlink(missing_ok=True)
    convert(first, second, "--to", to, "--image-root", place)
    before, after = load_examples(first, place), load_examples(second, place)
    nulls = [({n: v for n, v in c[1].items() if v is not None}, c[0]) for c in map(content, before)]
    found = [({n: v for n, v in c[1].items() if v is not None}, c[0]) for c in map(content, after)]
    assert found == nulls
    assert [example.fields["original_id"] for example in after] == [
        example.fields.get("original_id", example.id) for example in before
    ]


@pytest.mark.parametrize("to", TARGETS)
def test_files_of_every_family_read_back_as_they_were(tmp_path, to):
    folder = SHARED / "formats"
    if not folder.exists():
        pytest.skip("the made-up files are not here")
    read = 0
    for file in sorted(file for file in folder.iterdir() if file.is_file()):
        try:
            before, _ = read_examples(file, folder / "images", skip_bad_rows=True)
        except ValueError:
            continue  # of a family that is not read
        out = tmp_path / f"{file.stem}.{to}"
        root = ("--image-root", folder / "images", "--skip-bad-rows")
        is_held = any(isinstance(image, HeldImage) for e in before for image in e.images)
        if is_held and to == "jsonl":
            continue  # held images become files: a test of their own
        convert(file, out, "--to", to, *root)
        after = load_examples(out, folder / "images")
        assert [content(e) for e in after] == [content(e) for e in before], file.name
        read += len(after)
    assert read > 10


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_is_converted_to_the_same_file(tmp_path, container, to):
    rows = [ROW | {"note": 'a, "b"\nc'}, ROW | {"image": "b.png"}]
    file, out = tmp_path / "CT_train.data", tmp_path / f"out.{to}"
    file.write_bytes(write_rows(container, rows))
    convert(file, out, "--to", to)
    expected = [content(example) for example in load_examples(file, ".")]
    assert [content(example) for example in load_examples(out, ".")] == expected
    assert expected[0][1] == {"note": 'a, "b"\nc'} and expected[0][0].modality == "CT"


def test_images_that_stand_in_rows_become_files_or_stay(tmp_path, capsys):
    one, other = picture(1), picture(2, "JPEG")
    columns = {
        "image": [{"bytes": content, "path": "x.png"} for content in (one, other, one)],
        "question": ["is it?", "what?", "how many?"],
        "answer": ["yes", "heart", "3"],
    }
    file = tmp_path / "rad.parquet"
    file.write_bytes(parquet(columns))
    before = load_examples(file, tmp_path)
    shown = [[image.tobytes() for image in open_images(example)] for example in before]

    kept = tmp_path / "kept.parquet"
    convert(file, kept, "--to", "parquet")
    assert [content(e) for e in load_examples(kept, ".")] == [content(e) for e in before]

    out = tmp_path / "out.jsonl"
    capsys.readouterr()
    convert(file, out, "--to", "jsonl")
    said = capsys.readouterr().out
    assert f"3 rows of 1 files written to {out}, 2 images to {tmp_path / 'out_images'}" in said
    assert f"pass --image-root {tmp_path} with it" in said
    after = load_examples(out, tmp_path)
    assert [[i.tobytes() for i in open_images(example)] for example in after] == shown
    assert sorted(path.suffix for path in (tmp_path / "out_images").iterdir()) == [".jpg", ".png"]
    assert [e.form for e in after] == ["yes_no", "text", "number"]


def test_rows_with_paths_and_rows_with_images_need_one_root(tmp_path, capsys):
    root, elsewhere = tmp_path / "images", tmp_path / "out"
    root.mkdir(), elsewhere.mkdir()
    (root / "a.png").write_bytes(picture(1))
    text = base64.b64encode(picture(2)).decode()
    file = tmp_path / "mixed.json"
    file.write_text(json.dumps([ROW, ROW | {"image": text}]))
    out = elsewhere / "a.jsonl"
    convert(file, out, "--to", "jsonl", "--image-root", root, status=2)
    assert "one --image-root has to lead to both" in capsys.readouterr().err
    assert list(elsewhere.iterdir()) == []
    convert(file, root / "a.jsonl", "--to", "jsonl", "--image-root", root)
    examples = load_examples(root / "a.jsonl", root)
    assert [len(open_images(example)) for example in examples] == [1, 1]
    convert(file, elsewhere / "a.parquet", "--to", "parquet", "--image-root", root)
    examples = load_examples(elsewhere / "a.parquet", root)
    assert [content(e) for e in examples] == [content(e) for e in load_examples(file, root)]


@pytest.mark.parametrize("to", TARGETS)
def test_bad_rows_are_named_and_nothing_is_written_or_they_are_left_out(tmp_path, to, capsys):
    file, out = tmp_path / "a.json", tmp_path / f"out.{to}"
    text = base64.b64encode(picture(3)).decode()
    file.write_text(json.dumps([ROW | {"image": text}, {"a": 1}, ROW | {"image": text}]))
    convert(file, out, "--to", to, status=2)
    assert f"1 of 3 rows of {file} cannot be used; correct them" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    convert(file, out, "--to", to, "--skip-bad-rows", "--show-bad-rows", tmp_path / "bad.jsonl")
    assert "1 bad rows skipped, the first: " in capsys.readouterr().out
    assert [example.fields["original_id"] for example in load_examples(out, tmp_path)] == [
        "a-0",
        "a-2",
    ]
    assert len((tmp_path / "bad.jsonl").read_text().splitlines()) == 1
    (tmp_path / "b.json").write_text("[{}]")
    convert(file, tmp_path / "b.json", tmp_path / "c", "--to", to, "--skip-bad-rows", status=2)
    assert "no row is left to use in" in capsys.readouterr().err


def test_nothing_is_written_over_and_what_cannot_be_done_is_said(tmp_path, capsys):
    file = tmp_path / "a.json"
    file.write_text(json.dumps([ROW]))
    (tmp_path / "b_images").mkdir()
    for words, reason in [
        ((file, file, "--to", "jsonl"), "a.json is there already: name another OUT"),
        ((file, tmp_path / "b.jsonl", "--to", "jsonl"), "b_images is there already"),
        ((file, tmp_path / "no" / "b", "--to", "jsonl"), "is no folder that you may write to"),
        (("phantoms:CT", tmp_path / "b", "--to", "parquet"), "is the embedded data, which is in"),
        ((tmp_path / "b_images", tmp_path / "c", "--to", "parquet"), "holds no data file"),
        ((tmp_path / "gone", tmp_path / "c", "--to", "parquet"), "gone does not exist"),
    ]:
        convert(*words, status=2)
        assert reason in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b_images"]


def test_without_pyarrow_the_extra_is_named(tmp_path, capsys, monkeypatch):
    (tmp_path / "a.json").write_text(json.dumps([ROW]))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    convert(tmp_path / "a.json", tmp_path / "b", "--to", "parquet", status=2)
    assert "it is the extra [parquet]" in capsys.readouterr().err


def test_a_signal_ends_it_and_nothing_stays(tmp_path, monkeypatch):
    # as in a process of its own, and as they were behind the test
    for name, value in {"number": None, "is_served": False, "is_over": False}.items():
        monkeypatch.setattr(requests, name, value)
    text = base64.b64encode(picture(3)).decode()
    (tmp_path / "a.json").write_text(json.dumps([ROW | {"image": text}] * 9))
    real, calls = json_lines.own_row, []

    def slow(*given):
        calls.append(1)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
            deadline = time.monotonic() + 60  # a thread may have to take it
            while requests.number is None and time.monotonic() < deadline:
                time.sleep(0.001)
        return real(*given)

    monkeypatch.setattr(json_lines, "own_row", slow)
    convert(tmp_path / "a.json", tmp_path / "b.jsonl", "--to", "jsonl", status=130)
    assert len(calls) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_disk_that_is_full_leaves_neither_file_nor_folder(tmp_path, capsys, monkeypatch):
    text = base64.b64encode(picture(3)).decode()
    (tmp_path / "a.json").write_text(json.dumps([ROW | {"image": text}]))
    real = Path.replace

    def full(self, target):
        if Path(target).name == "b.jsonl":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    convert(tmp_path / "a.json", tmp_path / "b.jsonl", "--to", "jsonl", status=2)
    assert "No space left on device" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_published_split_reads_back_row_by_row(tmp_path):
    file = SHARED / "omnimedvqa_splits" / "test" / "Dermoscopy_test.json"
    if not file.exists():
        pytest.skip("the published splits are not here")
    before = [content(example) for example in load_examples(file, tmp_path)]
    for to in TARGETS:
        convert(file, tmp_path / f"out.{to}", "--to", to, "--image-root", tmp_path)
        assert [content(e) for e in load_examples(tmp_path / f"out.{to}", tmp_path)] == before


MISTAKES = [
    ({MARK: {"version": 2}}, r"\(groupwise\) is no object of version 1"),
    ({MARK: "x"}, r"\(groupwise\) is no object of version 1"),
    ({MARK: {"version": 1, "form": "essay"}}, r"\(groupwise.form\) is none of letter"),
    ({MARK: {"version": 1, "modality": 3}}, r"\(groupwise.modality\) is of the wrong kind"),
    ({MARK: {"version": 1, "accepted": "x"}}, r"\(groupwise.accepted\) is of the wrong kind"),
    ({MARK: {"version": 1, "absolute_tolerance": True}}, "absolute_tolerance. is of the wrong"),
    ({MARK: {"version": 1, "relative_tolerance": "0.1"}}, "relative_tolerance. is of the wrong"),
    ({MARK: {"version": 1, "fields": "{"}}, r"\(groupwise.fields\) is not JSON"),
    ({MARK: {"version": 1, "fields": [1]}}, r"\(groupwise.fields\) is no object"),
    ({"options": "x"}, r"\(options\) is no list of texts"),
    ({"options": ["x", 3]}, r"\(options\) is no list of texts"),
    ({"answer": "E"}, r"\(answer\) row: answer 'E' is not the letter of one of"),
    ({"question": ""}, r"\(question\) is not a text"),
]


@pytest.mark.parametrize(("change", "words"), MISTAKES)
def test_a_row_of_ours_that_is_wrong_is_a_bad_row(tmp_path, change, words):
    row = {"images": [], "question": "Which?", "options": ["x", "y"], "answer": "A"}
    row |= {MARK: {"version": 1}} | change
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match=words):
        load_examples(tmp_path / "a.jsonl", tmp_path)


def test_the_document_names_every_field():
    text = (ROOT / "docs" / "convert.md").read_text(encoding="utf-8")
    for name in (*(field.name for field in OWN.fields), *STATED, "version", "fields"):
        assert f"| `{name}` |" in text or f"| `{MARK}.{name}` |" in text, name


@pytest.mark.parametrize("to", TARGETS)
def test_only_the_rows_that_are_asked_for_are_written(tmp_path, capsys, to):
    rows = [ROW | {"site": {"no": n % 2}} for n in range(6)] + [{"site": {"no": 0}}]
    (tmp_path / "a.jsonl").write_bytes(write_rows("jsonl", rows))
    out = tmp_path / f"out.{to}"
    convert(tmp_path / "a.jsonl", out, "--to", to, "--only", "site.no=1.0")
    assert "--only site.no=1.0 keeps 3 of 7 rows" in (said := capsys.readouterr().out)
    assert "3 rows of 1 files written" in said
    found = [example.fields["original_id"] for example in load_examples(out, tmp_path)]
    assert found == ["a-1", "a-3", "a-5"]
    for wrong, words in (
        ("site.no=7", "keeps none of the 7 rows of the files: site.no is 0 (4), 1 (3)"),
        ("site", "is not FIELD=VALUE"),
        ("train:site.no=1", "about the rows of train"),
    ):
        convert(tmp_path / "a.jsonl", tmp_path / "x", "--to", to, "--only", wrong, status=2)
        assert words in capsys.readouterr().err and not (tmp_path / "x").exists()
