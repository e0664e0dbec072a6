"""Question and options side by side: every form in which options are listed, and the key."""

import json

import pytest

from data.reading.families import RowError, read_row

ROW = {"question": "Which side?", "options": {"A": "Left", "B": "Right"}, "label": "B",
       "images": ["a.png"]}  # fmt: skip
LISTED = "Which?\nAnswer Choices: (A) Edema (B) Type (B) lesion"
XPERT = {"id": "MM-0", "question": LISTED, "label": ["A"], "medical_task": "Diagnosis",
         "options": [{"letter": "A", "content": "Edema"},
                     {"letter": "B", "content": "Type (B) lesion"}],
         "images": [{"image_path": "a.jpeg"}, {"image_path": "b.jpeg"}]}  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"A": "Left", "B": "Right"},
        {"B": "Right", "A": "Left"},
        {"A": "Left", "B": "Right", "C": None, "D": ""},  # a parquet file's struct has all letters
        ["Left", "Right"],
        ["A) Left", "B) Right"],
        [{"letter": "A", "content": "Left"}, {"letter": "B", "content": "Right"}],
        [{"letter": "B", "content": "Right"}, {"letter": "A", "content": "Left"}],
        json.dumps({"A": "Left", "B": "Right"}),
        json.dumps(["Left", "Right"]),
        json.dumps([{"letter": "A", "content": "Left"}, {"letter": "B", "content": "Right"}]),
    ],
)
@pytest.mark.parametrize("key", ["B", ["B"], "right", ["Right"], "B. Right"])
@pytest.mark.parametrize("field", ["label", "answer_label", "correct_answer", "answer"])
def test_options_and_keys_are_read_in_every_form(options, key, field):
    row = {"question": "Which side?", "options": options, field: key}
    content = read_row(row)
    assert (content.options, content.answer, content.form) == (("Left", "Right"), "B", "letter")
    assert (content.answer_field, content.images, content.fields) == (field, (), {})


def test_the_answer_choices_behind_a_question_are_cut_where_they_are_the_options():
    content = read_row(XPERT)
    assert (content.question, content.options) == ("Which?", ("Edema", "Type (B) lesion"))
    assert content.images == ({"image_path": "a.jpeg"}, {"image_path": "b.jpeg"})
    assert read_row(XPERT | {"question": f"{LISTED} .\n"}).question == "Which?"
    assert read_row(XPERT | {"question": f"{LISTED} or?"}).question != "Which?"
    assert content.fields == {"id": "MM-0", "medical_task": "Diagnosis"}
    assert read_row(ROW | {"question": "Which side?\nA. Left\nB. Right"}).question == "Which side?"
    with pytest.raises(
        RowError, match=r"\(question\) lists other options, \['Up', 'Right'\], than"
    ):
        read_row(ROW | {"question": "Which? Answer Choices: (A) Up (B) Right"})


@pytest.mark.parametrize(
    "question",
    [
        "Which is right? A) It is large. B) It is small.",  # what the options are about
        "Which of the choices: left or right?",
        "Which?\nAnswer Choices: left or right",
    ],
)
def test_other_lists_in_a_question_are_part_of_it(question):
    row = ROW | {"question": question, "options": ["Only A", "Both"], "label": "A"}
    assert read_row(row).question == question


def test_images_may_stand_in_numbered_fields():
    row = {name: value for name, value in ROW.items() if name != "images"}
    row |= {"image_1": "a.png", "image_2": {"bytes": b"x", "path": None}, "image_3": None}
    assert read_row(row).images == ("a.png", {"bytes": b"x", "path": None})
    with pytest.raises(
        RowError, match="are the images, but image_2 before the last of them is not"
    ):
        read_row(row | {"image_2": None, "image_3": "c.png"})
    assert read_row(row | {"image_2": None, "images": ["a.png"]}).images == ("a.png",)
    with pytest.raises(RowError, match="are images and image_1"):
        read_row(row | {"images": ["c.png"]})


def test_a_list_of_yes_and_no_without_letters_is_asked_in_words():
    row = ROW | {"options": ["No", "Yes"], "label": "yes"}
    content = read_row(row)
    assert (content.form, content.options, content.answer) == ("yes_no", ("Yes", "No"), "A")
    assert read_row(row | {"options": {"A": "No", "B": "Yes"}}).form == "letter"


@pytest.mark.parametrize(
    ("changes", "value", "reason"),
    [
        (
            {"answer": "Left"},
            ["B", "Left"],
            "(label, answer) say two things, B and A of the options",
        ),
        (
            {"answer": "Up"},
            "Up",
            "(answer) is no option: the row has options A to B, ['Left', 'Rig",
        ),
        ({"label": "C"}, "C", "(label) is no option"),
        ({"label": ["A", "B"]}, ["A", "B"], "(label) names 2 options, and a choice has one"),
        ({"label": 1}, 1, "(label) is no option"),
        ({"label": []}, [], "(label) is empty: write the right option"),
        ({"label": True}, True, "(label) is neither a text nor a number"),
        ({"options": {"A": "x", "C": "y"}}, ["options A", "options C"], "but options B before the"),
        (
            {"options": {"A": "x", "b": "y"}},
            ["options b"],
            "name no option: they must be options A",
        ),
        ({"options": {"A": "x"}}, ["x"], "are too few options: a choice needs two"),
        ({"options": ["x"] * 27}, ["x"] * 27, "are 27 options, and there are 26 letters"),
        ({"options": ["x", ""]}, "", "(options) is empty"),
        ({"options": ["x", ["y"]]}, ["y"], "(options) is neither a text nor a number"),
        ({"options": 3}, 3, "(options) is no list of options: write a list of texts, an object {A"),
        ({"options": "left or right"}, "left or right", "(options) is no JSON: write a list of"),
        ({"options": '{"A": "x", "A": "y"}'}, '{"A": "x", "A": "y"}', "one letter more than once"),
        ({"options": "[" * 99_999}, "[" * 99_999, "(options) is nested too deeply"),
        ({"options": [{"letter": "A"}, "B"]}, "B", "(options) is no option: write a list of texts"),
        (
            {"options": [{"letter": 1, "content": "x"}]},
            {"letter": 1, "content": "x"},
            "is no option",
        ),
        (
            {"options": [{"letter": "A", "content": "x"}, {"letter": "A", "content": "y"}]},
            {"letter": "A", "content": "y"},
            "(options) has the letter A more than once",
        ),
        ({"options": ["Left", "right", "Right"]}, "B", "stands under several letters (B, C)"),
    ],
)
def test_a_bad_row_is_named(changes, value, reason):
    with pytest.raises(RowError) as caught:
        read_row(ROW | changes)
    assert caught.value.value == value
    assert reason in str(caught.value)
