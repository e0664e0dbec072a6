"""What a row says and its family does not read: said aloud, or it would change the question."""

import pytest

from data.reading.families import RowError, read_row

TURNS = {"messages": [{"role": "user", "content": "Which?"}], "solution": "liver"}
PROBLEM = {"problem": "Which?", "answer": "liver"}
TRIPLE = {"question": "Which?", "answer": "liver"}
CHOICE = {"question": "Which?", "options": ["lung", "liver"], "answer": "liver"}
COLUMNS = {"question": "Which?", "option_A": "lung", "option_B": "liver", "answer": "B"}
OTHERS = [
    {"choices": ["lung", "liver"]},
    {"Options": "lung; liver"},
    {"option_1": "lung", "option_2": "liver"},
    {"answer_choices": {"A": "lung"}},
]


@pytest.mark.parametrize("row", [PROBLEM, TRIPLE, TURNS])
@pytest.mark.parametrize("others", OTHERS)
def test_options_under_another_name_make_no_open_question(row, others):
    with pytest.raises(RowError, match="look like options, and are not read"):
        read_row(row | others)


def test_the_place_of_an_option_is_no_number_that_is_asked_for():
    with pytest.raises(RowError, match="look like options"):
        read_row({"question": "Which?", "choices": ["lung", "liver"], "answer": 0})


def test_a_problem_beside_option_columns_is_no_open_question():
    for others in ({"option_A": "lung", "option_B": "liver"}, {"A": "lung", "B": "liver"}):
        with pytest.raises(RowError, match="look like options"):
            read_row(PROBLEM | others)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        *((PROBLEM, name) for name in ("img", "Image", "image_file", "figure_path")),
        *((TRIPLE, name) for name in ("img", "img_path", "figure", "imgs")),
        *((TURNS, name) for name in ("image_paths", "img")),
        *((CHOICE, name) for name in ("img", "image_paths")),
        *((COLUMNS, name) for name in ("img", "picture")),
    ],
)
def test_an_image_under_another_name_makes_no_question_without_one(row, name):
    with pytest.raises(RowError, match="look like images, and are not read") as caught:
        read_row(row | {name: "a.png"})
    assert caught.value.value == [name]
    assert not read_row(row | {name: None}).images


def test_what_only_sorts_rows_is_no_image_and_no_option():
    row = TRIPLE | {"image_id": "x", "img_id": 3, "image_organ": "HEAD", "option": 1, "A": "x"}
    del row["A"]
    assert read_row(row).form == "text"
    assert read_row(TRIPLE | {"image": "a.png", "image_url": "b.png"}).images == ("a.png",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"options": ["B) lung", "A) liver"]}, "begin with letters in another order: B, A"),
        ({"options": {"A": "B. lung", "B": "A. liver"}}, "begin with letters in another order"),
        ({"question": "Which? (A) liver (B) lung"}, "lists other options"),
        (
            {"options": ["1", "2"], "answer": "2", "label": 1},
            "is a number, which may be a place in the list",
        ),
    ],
)
def test_options_that_say_two_things_are_a_bad_row(change, reason):
    with pytest.raises(RowError, match=reason):
        read_row(CHOICE | {"answer": "B"} | change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"option_A": "B) lung", "option_B": "A) liver"}, "begin with letters in another order"),
        ({"question": "Which? A) liver, B) lung"}, r"\(question\) lists other options"),
    ],
)
def test_columns_that_say_two_things_are_a_bad_row(change, reason):
    with pytest.raises(RowError, match=reason):
        read_row(COLUMNS | change)
    assert read_row(COLUMNS | {"question": "Which? A) lung, B) liver"}).question == "Which?"


def test_options_of_an_object_lose_the_letters_that_they_have_anyway():
    row = read_row(CHOICE | {"options": {"A": "A. lung", "B": "B. liver"}})
    assert (row.options, row.answer) == (("lung", "liver"), "B")
    isomers = ["(A)-isomer", "(B)-isomer"]
    assert read_row(CHOICE | {"options": isomers, "answer": isomers[1]}).options == (*isomers,)


def test_a_problem_and_its_options_in_another_order_are_a_bad_row():
    row = {"problem": "Which? A)y, B)x\nAnswer with the letter.", "options": ["x", "y"]}
    with pytest.raises(RowError, match=r"\(problem\) lists other options"):
        read_row(row | {"answer": "A"})
    known = {"problem": "Which? A. E. coli B. A. niger", "options": ["E. coli", "A. niger"]}
    content = read_row(known | {"answer": "B"})
    assert (content.question, content.options) == ("Which?", ("E. coli", "A. niger"))


@pytest.mark.parametrize("answer", ["A, B", "(A), (C).", "A/D", ["A", "C"]])
def test_letters_without_options_are_no_answer(answer):
    for row in (TRIPLE, PROBLEM):
        with pytest.raises(RowError, match=r"names letters|is a letter"):
            read_row(row | {"answer": answer})


def test_two_official_parts_are_a_bad_row_where_one_is_the_test():
    for split, phrase in (("train", "test_freeform"), ("Test", "freeform")):
        with pytest.raises(RowError, match="are two official parts"):
            read_row(TRIPLE | {"split": split, "phrase_type": phrase})
    for split, phrase in (("test", "test_para"), ("train", "para"), ("validate", "freeform")):
        assert read_row(TRIPLE | {"split": split, "phrase_type": phrase}).fields["split"] == split
