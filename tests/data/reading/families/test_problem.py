"""The problem family: a key in every form it is published in, with options and without."""

import pytest

from data.reading.families import RowError, read_row

ROW = {"image": "a.png", "problem": "What is shown? A)Discs, B)Lines", "solution": "B"}
OPEN = {"problem": "<image>How many discs are marked?", "answer": "3", "images": ["b.jpg"]}


KEYS = ["B", "b", "(B)", "B.", "B)", "B:", "<answer> b </answer>", "<answer>B) Lines</answer>"]
KEYS += ["Lines", "lines.", "B. Lines", "(B) lines", ["B"], ["Lines"]]
KEYS += ["<think>thin, straight</think><answer>B</answer>"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("field", ["solution", "answer"])
def test_a_key_is_a_letter_a_text_or_both_bare_or_tagged(key, field):
    row = {"image": "a.png", "problem": ROW["problem"], field: key}
    content = read_row(row)
    assert (content.form, content.answer, content.options) == ("letter", "B", ("Discs", "Lines"))
    assert (content.question, content.answer_field) == ("What is shown?", field)


@pytest.mark.parametrize(
    ("changes", "value", "reason"),
    [
        ({"solution": "C"}, "C", "(solution) is no option: the row has options A to B"),
        ({"solution": "Cones"}, "Cones", "(solution) is no option"),
        ({"solution": "B) Discs"}, "B) Discs", "says two things: B is 'Lines', and its text is th"),
        ({"solution": "C) Discs"}, "C) Discs", "(solution) is no option"),
        ({"solution": ["A", "B"]}, ["A", "B"], "(solution) names 2 options, and a choice has one"),
        ({"solution": ""}, "", "(solution) is empty: write the right option"),
        ({"solution": {"A": 1}}, {"A": 1}, "(solution) is neither a text nor a number"),
        ({"solution": "<answer>A"}, "<answer>A", "(solution) holds the tag"),
        ({"answer": "Discs"}, ["B", "Discs"], "(solution, answer) say two things, B and A of the"),
        (
            {"problem": "Which? A)B, B)A"},
            "B",
            "says two things: B is 'A', and its text is that of A",
        ),
        ({"problem": "Which? A)x"}, "Which? A)x", "(problem) has one option: a choice needs two"),
        (
            {"problem": "Which? A)x", "solution": "discs"},  # no open question
            "Which? A)x",
            "(problem) has one option: a choice needs two",
        ),
        ({"problem": "Which?\nA. x\nC. y"}, "Which?\nA. x\nC. y", "letters its options A, C"),
        (
            {"problem": "Which one?"},
            "Which one?",
            "(problem) has no option 'A)': write the options",
        ),
        ({"problem": "Which one?"}, "Which one?", "; (solution) is a letter"),
        (
            {"problem": "<image>Is it? A)x, B)y", "image": None},
            "<image>Is it?",
            "1 marks for no im",
        ),
        (
            {"options": ["Discs", "Cones"]},
            ROW["problem"],
            "(problem) lists other options, ['Discs', 'Lines'], than the row has, ['Discs', 'Con",
        ),
        ({"options": ["Discs"]}, ["Discs"], "are too few options: a choice needs two"),
        ({"options": "Discs"}, "Discs", "(options) is no JSON: write a list of texts"),
    ],
)
def test_a_row_that_says_nothing_or_two_things_is_a_bad_one(changes, value, reason):
    with pytest.raises(RowError) as caught:
        read_row(ROW | changes)
    assert caught.value.value == value
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("key", "form", "answer", "options"),
    [
        ("3", "number", "3", ()),
        (3, "number", "3", ()),
        ("<answer> 2.5 </answer>", "number", "2.5", ()),
        ("dark grey", "text", "dark grey", ()),
        ("Yes", "yes_no", "A", ("Yes", "No")),
        ("<answer> no </answer>", "yes_no", "B", ("Yes", "No")),
        (["disc", "line"], "labels", "disc, line", ()),
    ],
)
def test_without_options_the_key_says_what_is_asked_for(key, form, answer, options):
    content = read_row(OPEN | {"answer": key})
    assert (content.form, content.answer, content.options) == (form, answer, options)
    assert content.question == "How many discs are marked?"
    assert content.images == ("b.jpg",)


def test_an_open_row_may_say_the_same_twice_and_nothing_else():
    assert read_row(OPEN | {"solution": "<answer>3</answer>"}).answer == "3"
    assert read_row(OPEN | {"solution": "3", "answer": ""}).answer == "3"
    assert read_row(OPEN | {"solution": ""}).answer == "3"
    with pytest.raises(RowError, match=r"\(solution, answer\) say two things") as caught:
        read_row(OPEN | {"solution": "4"})
    assert caught.value.value == ["4", "3"]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("A", r"\(problem\) has no option 'A\)'.*; \(answer\) is a letter"),
        (["c"], r"\(answer\) is a letter"),
        ("", r"\(answer\) is empty"),
        ("3</answer>", r"\(answer\) holds the tag"),
    ],
)
def test_an_open_row_without_a_key_is_a_bad_one(key, reason):
    with pytest.raises(RowError, match=reason):
        read_row(OPEN | {"answer": key})


def test_options_and_question_of_their_own_are_taken_in_place_of_the_problem():
    row = {"problem": "Look closely. Which one is it?", "solution": "B"}
    row |= {"options": ["Disc", "Square"], "question": "Which?"}
    content = read_row(row)
    assert (content.question, content.options) == ("Which?", ("Disc", "Square"))
    content = read_row(row | {"question": "Which?\nA. Disc\nB. Square"})
    assert (content.question, content.answer) == ("Which?", "B")
    content = read_row(row | {"question": None, "problem": "Which?\n(A) disc\n(B) square"})
    assert (content.question, content.options) == ("Which?", ("Disc", "Square"))
    with pytest.raises(RowError, match=r"\(question\) lists other options, \['x', 'y'\], than the"):
        read_row(row | {"question": "Which?\nOptions:\nA. x\nB. y"})
    assert read_row(OPEN | {"question": "How many?"}).question == "How many?"


@pytest.mark.parametrize(
    ("row", "form", "answer"),
    [
        # letters somewhere: they are asked for
        ({"problem": "Is it? (A) Yes (B) No", "solution": "Yes"}, "letter", "A"),
        ({"problem": "Is it?", "options": ["A. Yes", "B. No"], "solution": "no"}, "letter", "B"),
        (
            {"problem": "Is it?", "options": {"A": "No", "B": "Yes"}, "solution": "no"},
            "letter",
            "A",
        ),
        ({"problem": "Is it?", "options": ["Yes", "No"], "solution": "B"}, "letter", "B"),
        (
            {"problem": "Is it? A) Yes B) No", "options": ["Yes", "No"], "solution": "no"},
            "letter",
            "B",
        ),
        ({"problem": "Is it?", "options": ["Yes", "Maybe"], "solution": "Yes"}, "letter", "A"),
        # none: the words are
        ({"problem": "Is it?", "options": ["Yes", "No"], "solution": "Yes"}, "yes_no", "A"),
        ({"problem": "Is it?", "options": ["No", "Yes."], "solution": "no"}, "yes_no", "B"),
    ],
)
def test_yes_and_no_are_asked_as_letters_where_the_row_shows_letters(row, form, answer):
    content = read_row(row)
    assert (content.form, content.answer) == (form, answer)
    assert form == "letter" or content.options == ("Yes", "No")


def test_marks_for_images_are_taken_off_at_both_ends_where_they_are_as_many_as_the_images():
    for problem in ("<image>Which? A)x, B)y", "Which? A)x, B)y\n<image>"):
        content = read_row({"image": "a.png", "problem": problem, "solution": "B"})
        assert (content.question, content.options) == ("Which?", ("x", "y"))
    two = {
        "images": ["a.png", "b.png"],
        "problem": "<image>\nWhich? A)x, B)y <image>",
        "answer": "A",
    }
    assert read_row(two).question == "Which?"
    with pytest.raises(RowError, match="3 marks for 2 images"):
        read_row(two | {"problem": "<image><image><image>Which? A)x, B)y"})
    with pytest.raises(RowError, match="read as a word"):
        read_row(two | {"problem": "Is <image> like <image>? A)x, B)y"})
    with pytest.raises(RowError, match="read as a word"):
        read_row(two | {"problem": "<image>Which? A)x, B)y"})


def test_two_names_of_the_images_must_have_the_same():
    assert read_row(ROW | {"images": "a.png"}).images == ("a.png",)
    with pytest.raises(
        RowError, match=r"\(image, images\) are two names of one field with two val"
    ):
        read_row(ROW | {"images": ["b.png"]})
