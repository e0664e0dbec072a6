"""Options and keys mean the same in every family of rows, and so do the images they are about."""

import json
from string import ascii_uppercase

import pytest

from data.reading.families import RowError, read_row

TEXT = "Which side?"
OPTIONS = ["Left", "Right"]


def problem(text, key, **beside) -> dict:
    return {"image": "a.png", "problem": text, "solution": key} | beside


def mapped(text, key, **beside) -> dict:
    return {"images": ["a.png"], "question": text, "label": key} | beside


def medical(text, key, **beside) -> dict:
    return {"img_name": "a.png", "question": text, "answer": key} | beside


def triple(text, key, **beside) -> dict:
    return {"image": "a.png", "question": text, "answer": key} | beside


def turns(text, key, **beside) -> dict:
    said = [{"from": "human", "value": f"<image>{text}"}, {"from": "gpt", "value": key}]
    return {"image": "a.png", "conversations": said} | beside


def prompt(text, key, **beside) -> dict:
    said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
    return {"images": ["a.png"], "prompt": said, "reward_model": {"ground_truth": key}} | beside


def columns(text, key, options) -> dict:
    named = {f"Choice {letter}": one for letter, one in zip(ascii_uppercase, options, strict=False)}
    return {"Figure_path": "a.png", "Question": text, "Answer": key} | named


WITH_FIELD = [problem, mapped, medical, triple, turns, prompt]
IN_TEXT = [problem, medical, triple, turns, prompt]
KEYS = ["B", "b", "(B)", "B)", "<answer> B </answer>", "right", "Right.", "B. Right", "(B) right"]


@pytest.mark.parametrize("row", [*WITH_FIELD, columns])
@pytest.mark.parametrize("key", KEYS)
def test_a_key_names_an_option_by_letter_text_or_both_in_every_family(row, key):
    rows = [row(TEXT, key, options=OPTIONS)]
    if row in IN_TEXT:
        rows.append(row("Which side?\nA. Left\nB. Right", key))
    for content in map(read_row, rows):
        assert (content.question, content.options) == (TEXT, ("Left", "Right"))
        assert (content.form, content.answer, content.images) == ("letter", "B", ("a.png",))
        assert "options" not in content.fields


@pytest.mark.parametrize("row", WITH_FIELD)
@pytest.mark.parametrize(
    "options",
    [
        {"A": "Left", "B": "Right"},
        json.dumps({"A": "Left", "B": "Right"}),
        ["A) Left", "B) Right"],
        [{"letter": "A", "content": "Left"}, {"letter": "B", "content": "Right"}],
    ],
)
def test_a_field_of_options_is_read_in_every_form_in_every_family(row, options):
    listed = "Which side? Answer Choices: (A) left (B) right"
    for text in (TEXT, listed):
        content = read_row(row(text, "B", options=options))
        assert (content.question, content.options) == (TEXT, ("Left", "Right"))
        assert (content.form, content.answer) == ("letter", "B")


@pytest.mark.parametrize("row", WITH_FIELD)
def test_a_list_without_options_in_it_is_none(row):
    if row is not mapped:
        for nothing in (None, [], "", {}):
            assert read_row(row(TEXT, "left", options=nothing)).form == "text"


@pytest.mark.parametrize("row", [*WITH_FIELD, columns])
@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("C", "is no option: the row has options A to B"),
        ("up", "is no option: the row has options A to B"),
        ("B) Left", "says two things: B is 'Right', and its text is that of A"),
    ],
)
def test_a_key_that_is_no_option_or_two_of_them_is_a_bad_row_in_every_family(row, key, reason):
    with pytest.raises(RowError, match=reason):
        read_row(row(TEXT, key, options=OPTIONS))


@pytest.mark.parametrize("row", [*WITH_FIELD, columns])
@pytest.mark.parametrize("listed", ["A. Up\nB. Right", "A. Left\nB. Right\nC. Both"])
def test_a_list_in_the_text_that_is_another_is_a_bad_row_in_every_family(row, listed):
    with pytest.raises(RowError, match=r"lists other options, .* than the row has"):
        read_row(row(f"{TEXT}\n{listed}", "B", options=OPTIONS))


@pytest.mark.parametrize("row", [*WITH_FIELD, columns])
def test_what_looks_like_a_list_and_belongs_to_the_question_stays_in_it(row):
    for text, options in [
        ("Which holds? A) It is large. B) It is small.", ["Only A", "Both"]),
        ("Seen are: (A) axial, (B) coronal. What is it?", ["Cyst", "Mass"]),
    ]:
        assert read_row(row(text, options[1], options=options)).question == text


@pytest.mark.parametrize("row", WITH_FIELD)
def test_yes_and_no_are_asked_in_words_where_nothing_shows_letters_in_every_family(row):
    content = read_row(row("Is it?", "yes", options=["No", "Yes"]))
    assert (content.form, content.options, content.answer) == ("yes_no", ("Yes", "No"), "A")
    for text, key, options in [
        ("Is it?", "B", ["No", "Yes"]),
        ("Is it?", "yes", {"A": "No", "B": "Yes"}),
        ("Is it? (A) No (B) Yes", "yes", ["No", "Yes"]),
    ]:
        content = read_row(row(text, key, options=options))
        assert (content.form, content.options, content.answer) == ("letter", ("No", "Yes"), "B")


def test_every_key_of_a_row_must_mean_the_same_option():
    row = turns(TEXT, "B. Right", options=OPTIONS, solution="right", ground_truth=["B"])
    assert (read_row(row).answer, read_row(row).answer_field) == ("B", "solution")
    with pytest.raises(RowError, match=r"\(solution, ground_truth\) say two things, A and B of th"):
        read_row(row | {"solution": "Left"})
    assert read_row(mapped(TEXT, "B", options=OPTIONS, answer="right")).answer == "B"


@pytest.mark.parametrize("row", IN_TEXT)
def test_letters_without_options_are_a_bad_row_in_every_family(row):
    for key in ("A", "(b)", "C."):
        with pytest.raises(RowError, match=r"has no option 'A\)'.*; \(\w+\) is a letter"):
            read_row(row(TEXT, key))
    with pytest.raises(RowError, match="is a letter"):
        read_row(triple(TEXT, ["A", "C"]))


@pytest.mark.parametrize("row", [mapped, triple, medical, problem, turns])
def test_marks_behind_the_options_are_no_part_of_the_last_one(row):
    published = row("Which side? A)Left, B)Right <image>", "B", options=OPTIONS)
    if row is turns:  # has a mark of its own in front
        published |= {"image": ["a.png", "b.png"]}
    content = read_row(published)
    assert (content.question, content.options) == (TEXT, ("Left", "Right"))


@pytest.mark.parametrize("name", ["image", "images", "image_path", "Figure_path", "img_name",
                                  "image_name", "image_1"])  # fmt: skip
@pytest.mark.parametrize("row", [*WITH_FIELD, columns])
def test_an_image_is_shown_under_whichever_published_name_it_stands(row, name):
    published = row(TEXT, "B", options=OPTIONS)
    images = ("image", "images", "img_name", "Figure_path")
    published = {field: value for field, value in published.items() if field not in images}
    assert read_row(published | {name: "b.png"}).images == ("b.png",)


def test_an_image_in_the_row_comes_before_the_path_where_it_lay():
    held = {"bytes": b"x", "path": "a.png"}
    beside = {"images": None, "image": held, "image_path": "/else/a.png"}
    for row in (medical, mapped, problem):
        assert read_row(row(TEXT, "B", options=OPTIONS) | beside).images == (held,)
