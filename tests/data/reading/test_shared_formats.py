"""Made-up files of every family, right and wrong: all of them are read, or say what is wrong."""

from collections import Counter

import pytest

from data.reading.readers import load_examples, parse_rows
from tests.places import SHARED

FORMATS = SHARED / "formats"
pytestmark = pytest.mark.skipif(not FORMATS.is_dir(), reason=f"{FORMATS} is not there")
RIGHT = {
    "f1_bare_letter.json": ["A", "B"],
    "f1_easy.jsonl": ["3", "B", "A", "dark grey"],
    "f1_tags.json": ["A", "B"],
    "f2_pmc_v1.csv": ["B"],
    "f2_pmc_v2.csv": ["A", "C"],
    "f2_vlmeval.tsv": None,
    "f3_letters.jsonl": None,
    "f4_mimic_like.json": None,
    "f4_slake.json": None,
    "f4_vqa_rad.json": ["B", "2", "upper left"],
    "f5_triples.jsonl": ["A", "discs"],
    "f6_conversations.jsonl": ["A", "A"],
    "f6_messages.jsonl": ["disc", "4", "B"],
}
WRONG = (
    "no option",
    "say two things",
    "leads outside",
    "is empty|not a text, or an empty one",
    "user",
    "image",
    "is missing",
    "stands under several letters",
    "is not an object",
    "are the fields of no published format",
)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_file_is_read_whole(name):
    examples = load_examples(FORMATS / name, FORMATS / "images")
    assert examples and [one.id for one in examples] == [
        f"{(FORMATS / name).stem}-{number}" for number in range(len(examples))
    ]
    if RIGHT[name] is not None:
        assert [one.answer for one in examples] == RIGHT[name]


def test_forms_and_images_are_those_that_the_rows_say():
    rows = [row for name in RIGHT for row in load_examples(FORMATS / name, FORMATS / "images")]
    assert set(Counter(row.form for row in rows)) == {
        "letter", "yes_no", "text", "number", "labels"
    }  # fmt: skip
    assert {len(row.images) for row in rows} >= {0, 1, 2}
    assert [row.system for row in rows if row.system] == ["You read pictures."]


def test_each_wrong_row_says_in_its_own_way_what_is_wrong():
    examples, bad = parse_rows(FORMATS / "bad_rows.jsonl", FORMATS / "images")
    assert examples == [] and [row.row for row in bad] == list(range(10))
    for row, reason in zip(bad, WRONG, strict=True):
        assert any(one in str(row) for one in reason.split("|")), str(row)
