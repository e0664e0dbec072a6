"""What is said of rows: kinds, slices, lengths, keys, each by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from data.examples import VQAExample
from data.faults import Fault
from data.images import MISSING
from data.reading.bad_rows import BadRow
from data.sources import Split
from evaluation.data_check.first_rows import first_row_lines, judged
from evaluation.data_check.lengths import PromptLengths
from evaluation.data_check.summary import all_lines, first_lines
from tests.evaluation.mixed import QUESTIONS

pytestmark = pytest.mark.unit

YES_NO = VQAExample("a-1", (), "Is it?", ("Yes", "No"), "B", form="yes_no")
TEXT = VQAExample("a-2", (), "What?", (), "left lung", form="text", accepted=("lung, left",))
NUMBER = VQAExample("a-3", (), "How many?", (), "3", form="number", absolute_tolerance=0.5)
LETTER = VQAExample("a-4", (), "Which?", ("x", "y"), "B", modality="CT", family="problem")


def lengths(*tokens, completion=10, context=100):
    return PromptLengths(tokens, completion, context)


def split(*examples, bad=(), sources=("a.json",)):
    counts = {name: len(examples) + len(bad) for name in sources[:1]}
    return Split(list(examples), list(bad), dict.fromkeys(sources, ""), counts=counts)


def test_the_first_lines_of_a_run_are_two_where_nothing_is_odd():
    lines = first_lines({"train": split(LETTER)}, {"train": lengths(20)})
    assert lines == [
        "train: 1 rows of a.json; answered by letter; 0 images each",
        "  prompts of 20 to 20 tokens, median 20, of 1 rows; with 10 of completion at most 30 of"
        " the model's 100",
    ]


def test_rows_of_a_test_part_that_are_trained_on_are_said():
    tested = replace(TEXT, fields={"phrase_type": "test_freeform"})
    rows = split(tested, replace(LETTER, fields={"split": "train"}), replace(YES_NO, fields={}))
    told = "1 of 3 rows are of their data set's own test part"
    for lines in (first_lines, all_lines):
        assert told in (said := "\n".join(lines({"train": rows}, {"train": lengths(20)})))
        assert "--only train:split=train leaves them out" in said
        assert told not in "\n".join(lines({"eval": rows}, {"eval": lengths(20)}))


def test_kinds_of_answers_are_told_apart_and_several_files_counted():
    some = split(
        YES_NO, TEXT, NUMBER, LETTER, replace(LETTER, id="b-4"), sources=("a.json", "b.json")
    )
    lines = first_lines({"train": some}, {"train": lengths(1, 2, 9)})
    assert "5 rows of 2 files; answered by letter 2, yes or no 1, text 1, number 1" in lines[0]
    assert "prompts of 1 to 9 tokens, median 2" in lines[1]
    assert lines[2:] == [  # LETTER stands twice
        "  1 rows ask an earlier row's question about its images, with its key: b-4 that of a-4"
    ]


def test_rows_of_several_forms_are_counted_by_form_and_options_of_the_lettered_alone():
    def said(examples):
        return [
            line.strip() for line in all_lines({"train": split(*examples)}, {"train": lengths()})
        ]

    lines = said(QUESTIONS)
    assert "answered by: letter 2, yes or no 2, text 2, number 2" in lines
    assert "2 options in 1 rows, 4 options in 1 rows, none with letters in 6 rows" in lines
    assert "0 images in 2 rows, 1 image in 6 rows" in lines
    assert not any(" options" in line for line in said(QUESTIONS[4:]))
    assert "answered by: letter" in said(QUESTIONS[:2])


def test_all_lines_have_the_slices_and_the_bad_rows_of_each_file():
    bad = [BadRow("a.json", 7, "'E'", "is no option")]
    lines = all_lines({"train": split(LETTER, TEXT, bad=bad)}, {"train": lengths(20, 95)})
    text = "\n".join(lines)
    assert "  train: 2 rows of a.json, 1 bad ones beside them" in lines
    assert "    file a.json: 3 rows, 1 bad" in lines
    assert "published form: problem 1" in text and "modality: CT 1, unknown 1" in text
    assert "    2 options each, none with letters in 1 rows" in lines
    assert "1 rows do not fit: all fit with --max-completion-tokens 5; a smaller" in text


@pytest.mark.parametrize(("limit", "is_said"), [(0, False), (1, True), (2, False), (3, False)])
def test_a_sample_is_said_where_fewer_rows_of_eval_are_asked_than_there_are(limit, is_said):
    some = split(LETTER, TEXT)
    lines = all_lines(
        {"train": some, "eval": some}, {"train": lengths(1), "eval": lengths(1)}, limit
    )
    said = [line for line in lines if "a sample of" in line]
    assert said == ["  eval: 2 rows of a.json, a sample of 1 is asked"] * is_said


def test_what_eval_shows_of_train_is_said_or_that_it_shows_nothing():
    def told(**parts):
        some = {part: split(*examples) for part, examples in parts.items()}
        return [
            line for line in all_lines(some, dict.fromkeys(parts, lengths(1))) if "of eval" in line
        ]

    one, other = (replace(LETTER, images=(Path(f"{name}.png"),)) for name in "ab")
    asks_more = replace(one, id="a-9", question="What?")
    nothing = "  no row of eval shows an image of train"
    assert told(train=[one], eval=[other]) == [nothing]
    (line,) = told(train=[one], eval=[one, asks_more, other])
    assert "2 of 3 rows of eval show an image of train, 1 with the same question" in line
    assert told(train=[one]) == told(train=[one], eval=[]) == []


def test_missing_images_are_named_up_to_five():
    for count, more in ((5, ""), (6, ", ...")):
        bad = [
            BadRow("a.json", n, **vars(Fault.of_image(f"{n}.png", MISSING))) for n in range(count)
        ]
        text = "\n".join(all_lines({"train": split(bad=bad)}, {"train": lengths()}))
        names = ", ".join(f"{n}.png" for n in range(5))
        assert f"{count} image files are missing: {names}{more}\n" in text
    assert "missing" not in "\n".join(all_lines({"train": split(LETTER)}, {"train": lengths(1)}))


def test_that_no_row_stands_twice_is_said_where_none_does():
    once, twice = (
        "\n".join(all_lines({"train": split(*examples)}, {"train": lengths(1)}))
        for examples in ([LETTER], [LETTER, replace(LETTER, id="a-9", answer="A")])
    )
    assert "no row stands twice" in once and "published form: problem 1" in once
    assert "no row stands twice" not in twice and "with another key: a-9 that of a-4" in twice
    assert "published form" not in "\n".join(
        all_lines({"train": split(TEXT)}, {"train": lengths(1)})
    )


def test_many_values_of_a_slice_are_cut():
    some = [
        VQAExample(f"a-{n}", (), f"{n}?", (), "x", dataset=f"d{n}", form="text") for n in range(9)
    ]
    assert "    data set: d0 1, d1 1, d2 1, d3 1, d4 1, d5 1, d6 1, d7 1, and 1 more" in all_lines(
        {"train": split(*some)}, {"train": lengths()}
    )


def test_rows_that_are_beyond_the_context_by_themselves_are_told_so():
    assert "is over it by itself, by 20 tokens" in (lengths(120).what_fits() or "")
    assert lengths(90).what_fits() is None and lengths(91).too_long == 1
    assert str(lengths()) == "no prompt was counted" and lengths().longest == 0


@pytest.mark.parametrize(
    ("example", "key"),
    [
        (YES_NO, "No, as yes or no"),
        (LETTER, "B (y), as letter"),
        (TEXT, "left lung or lung, left, as text"),
        (NUMBER, "3, within 0.5, as number"),
    ],
)
def test_a_key_is_shown_as_it_is_judged(example, key):
    assert judged(example) == key


def test_a_relative_tolerance_is_a_share():
    number = VQAExample("a-3", (), "How?", (), "8", form="number", relative_tolerance=0.05)
    assert judged(number) == "8, within 5.000% of it, as number"


def test_a_row_without_an_image_and_a_prompt_of_any_length():
    check = SimpleNamespace(seen=lambda _: [], written=lambda _: "x" * 9000)
    preflight = SimpleNamespace(checks=[check], sizes=lambda _: [])
    lines = first_row_lines("train", [TEXT], preflight)
    assert lines[2] == "    no image" and "    | [5,000 characters are not shown]" in lines
    assert sum(map(len, lines)) < 4300
    assert first_row_lines("train", [], preflight) == []
