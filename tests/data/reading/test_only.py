"""--only FIELD=VALUE: rows are read or left out by any field, and a miss says what there is."""

import json
import math

import pytest

from data.examples import VQAExample
from data.reading.only import Only, conditions_of
from data.reading.readers import read_examples
from data.sources import Wanted, load_split, load_splits

ROW = {"image": "a.png", "problem": "What? A)CT, B)MRI", "solution": "<answer> B </answer>"}
EXAMPLE = VQAExample("a-0", (), "Is it?", ("Yes", "No"), "A", modality="MRI", form="yes_no")
ROWS = [
    ROW | {"q_lang": "en", "answer_type": "OPEN ", "modality": "CT"},
    ROW | {"q_lang": "zh", "answer_type": "CLOSED", "modality": "CT"},
    ROW | {"q_lang": "EN", "answer_type": "OPEN", "modality": "MRI"},
    ROW | {"q_lang": None, "phrase_type": "test_para"},
]


@pytest.fixture
def write(tmp_path):
    def write_rows(rows, name: str = "rad.json"):
        path = tmp_path / name
        path.write_text(json.dumps(rows), encoding="utf-8")
        return path

    return write_rows


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        ([], [0, 1, 2, 3]),
        (["q_lang=en"], [0, 2]),
        ([" q_lang = EN "], [0, 2]),
        (["q_lang=en", "modality=ct"], [0]),
        (["q_lang=en", "q_lang=zh"], [0, 1, 2]),
        (["answer_type=open"], [0, 2]),
        (["q_lang="], [3]),
        (["split=test"], [3]),
        (["solution=<answer> B </answer>", "modality=MRI"], [2]),  # one that is used up, too
        (["train:q_lang=en"], [0, 2]),
        (["eval:q_lang=en"], [0, 1, 2, 3]),
    ],
)
def test_rows_are_chosen_by_their_fields_and_keep_their_numbers(write, tmp_path, texts, numbers):
    path = write(ROWS)
    split = load_split([str(path)], part="train", image_root=tmp_path, only=texts)
    assert [example.id for example in split.examples] == [f"rad-{number}" for number in numbers]
    assert split.only.texts == tuple(texts)


@pytest.mark.parametrize(
    ("value", "asked", "is_out"),
    [
        ("CT", "ct", False),
        ("CT", "MRI", True),
        (2, "2", False),
        (2.0, "2", False),
        (2, "2.0", False),
        (0.5, ".50", False),
        (100, "1e2", False),
        (2, "2.", False),
        ("007", "7", True),
        ("1.10", "1.1", True),
        (math.inf, "1e999", False),
        (5, ".", True),
        (True, "true", False),
        (None, "", False),
        (math.nan, "", False),
        (["A", "B"], "b", False),
        (["A", "B"], "c", True),
        ([], "", True),
        ({"a": 1}, "a", True),
        (b"\x89PNG", "", True),
        ([["A"]], "A", True),
        ("a=b", "a=b", False),
        ("图", "图", False),
    ],
)
def test_values_are_compared_as_a_user_writes_them(value, asked, is_out):
    assert Only([f"field={asked}"]).rules_out({"field": value}) is is_out


def test_a_field_of_an_object_is_named_with_a_dot(write, tmp_path):
    def read(*texts):
        return [e.id for e in read_examples(path, tmp_path, only=Only(texts))[0]]

    path = write(
        [row | {"of": {"site": {"no": n}, "x": [n]}, "a.b": n} for n, row in enumerate(ROWS)]
    )
    assert read("of.site.no=2") == read("of.x=2") == read("a.b=2") == ["rad-2"]
    for wrong in ("of=2", "of.y=2", "of.site=1", "a=1"):
        with pytest.raises(ValueError, match=r"has a field .*a\.b, .*of\.site, of\.x, "):
            read(wrong)


def test_labels_are_known_by_our_spelling_and_by_the_rows_own():
    for texts, row, kept in (
        (["modality=MRI"], {"modality_type": "MR (Magnetic Resonance)"}, True),
        (["modality=MRI"], {"modality": "MR"}, True),
        (["modality=mr"], {"modality": "MR"}, True),
        (["modality=CT"], {"modality": "MR"}, False),
        (["form=yes_no", "kind=choice"], {}, True),
        (["kind=text"], {}, False),
        (["dataset=unknown"], {}, True),
        (["dataset=unknown"], {"dataset": "demo"}, False),
    ):
        only = Only(texts)
        assert not only.rules_out(row)
        assert only.keeps(row, EXAMPLE) is kept
        assert only.left_out == (not kept)


def test_what_is_no_row_is_for_the_reader_to_say():
    assert not Only(["q_lang=en"]).rules_out(["not", "an", "object"])


@pytest.mark.parametrize("text", ["q_lang", "=en", " =en", "", "train:q_lang", "eval:=en"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(ValueError, match="is not FIELD=VALUE: write it as in --only q_lang=en"):
        conditions_of([text])


def test_a_bad_row_that_is_not_asked_for_is_none(write, tmp_path):
    bad = ROW | {"solution": "", "q_lang": "zh"}
    path = write([ROWS[0], bad])
    examples, bad_rows = read_examples(path, tmp_path, only=Only(["q_lang=en"]))
    assert ([example.id for example in examples], bad_rows) == (["rad-0"], [])
    with pytest.raises(ValueError, match="1 of 1 rows"):
        read_examples(path, tmp_path, only=Only(["q_lang=zh"]))


def test_where_no_row_is_left_the_values_are_listed_with_their_counts(write, tmp_path):
    path = write(ROWS)
    with pytest.raises(ValueError) as caught:
        load_split([str(path)], part="eval", image_root=tmp_path, only=["q_lang=fr"])
    assert str(caught.value) == (
        "--only q_lang=fr keeps none of the 4 rows of the eval data: q_lang is en (2), zh (1),"
        " empty (1). Ask for values that some row has together"
    )
    with pytest.raises(ValueError, match=r"q_lang is .*; modality is ct \(1\)\. Ask"):
        read_examples(path, tmp_path, only=Only(["q_lang=zh", "modality=MRI"]))


def test_ten_values_are_listed_and_the_others_counted(write, tmp_path):
    path = write([ROW | {"qid": f"{number}\x1b" * 40} for number in range(14)])
    with pytest.raises(ValueError, match="and 4 more") as caught:
        read_examples(path, tmp_path, only=Only(["qid=x"]))
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("asked", ["lang=en", "lang="])
def test_a_field_that_no_row_has_lists_those_that_there_are(write, tmp_path, asked):
    with pytest.raises(ValueError, match=r"no row of .*rad\.json has a field 'lang': .*q_lang"):
        read_examples(write(ROWS), tmp_path, only=Only([asked]))


def test_all_files_together_have_to_hold_a_row(write, tmp_path):
    names = [str(write(ROWS[:1], "a.json")), str(write(ROWS[1:2], "b.json"))]
    split = load_split(names, part="train", image_root=tmp_path, only=["q_lang=zh"])
    assert [example.id for example in split.examples] == ["b-0"]
    assert split.only.note() == "--only q_lang=zh keeps 1 of 2 rows"


def test_each_part_may_be_chosen_for_itself(write, tmp_path):
    name = str(write([row | {"split": part} for row, part in zip(ROWS, "abab", strict=True)]))
    parts = load_splits(
        {"train": Wanted([name]), "eval": Wanted([name])},
        image_root=tmp_path,
        only=["train:split=a", "eval:split=b"],
    )
    found = {part: [example.id for example in split.examples] for part, split in parts.items()}
    assert found == {"train": ["rad-0", "rad-2"], "eval": ["rad-1", "rad-3"]}


def test_phantoms_are_chosen_by_their_labels():
    split = load_split(
        ["phantoms:CT"], part="eval", image_root=None, only=["question_type=lesion grading"]
    )
    assert {example.question_type for example in split.examples} == {"Lesion Grading"}
    whole = load_split(["phantoms:CT"], part="eval", image_root=None)
    assert split.checksums == whole.checksums
    with pytest.raises(ValueError, match=r"no row of the eval data has a field 'q_lang': use one"):
        load_split(["phantoms:CT"], part="eval", image_root=None, only=["q_lang=en"])


def test_what_is_kept_for_a_message_does_not_grow_with_the_file():
    only = Only(["qid=x"])
    for number in range(30_000):
        only.rules_out({"qid": number, f"field {number}": 1})
    with pytest.raises(ValueError, match="keeps none of the 30,000 rows") as caught:
        only.check_some("it")
    assert len(str(caught.value)) < 2000
