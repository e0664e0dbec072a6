"""Option columns: OmniMedVQA's, PMC-VQA's two files, VLMEvalKit's tables."""

import base64

import pytest

from data.reading.families import RowError, read_row

OMNI = {"image_path": "a.png", "question": "Which?", "gt_answer": "Lung", "option_A": "Liver",
        "option_B": "Lung"}  # fmt: skip
V2 = {"index": "0", "Figure_path": "a.jpg", "Caption": "Axial CT", "Question": "Which organ?",
      "Choice A": " A:Liver", "Choice B": " B: Heart", "Choice C": " C:Lung", "Choice D": "",
      "Answer": "C", "split": "train"}  # fmt: skip
V1 = {"Figure_path": "a.png", "Question": "Which?", "Answer": " heart ", "Choice A": " A:Liver ",
      "Choice B": " B:Heart ", "Answer_label": "B"}  # fmt: skip
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(80)).decode()
TABLE = {"index": "7", "image": PICTURE, "question": "Which?", "A": "Cube", "B": "Disc", "C": "",
         "D": None, "answer": "B", "category": "shapes", "split": "test"}  # fmt: skip


def test_pmc_vqas_second_file_is_read_without_the_letters_in_its_columns():
    content = read_row(V2)
    assert (content.question, content.options) == ("Which organ?", ("Liver", "Heart", "Lung"))
    assert (content.answer, content.images) == ("C", ("a.jpg",))
    assert content.fields == {"index": "0", "Caption": "Axial CT", "split": "train"}


def test_pmc_vqas_first_file_says_its_answer_twice():
    assert read_row(V1).answer == "B"
    assert read_row(V1 | {"Answer": "B"}).answer == "B"
    with pytest.raises(RowError, match=r"\(Answer_label, Answer\) say two things, A and B of the"):
        read_row(V1 | {"Answer_label": "A"})
    with pytest.raises(RowError, match=r"\(Answer\) is no option: the row has options A to B"):
        read_row(V1 | {"Answer": "Hearts"})


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ({"A": "A. Cube", "B": "B. Disc"}, ("Cube", "Disc")),  # each begins with its letter
        ({"A": "A. fumigatus", "B": "C. albicans"}, ("A. fumigatus", "C. albicans")),
        ({"Choice A": "A:Cube", "Choice B": "Disc"}, ("Cube", "Disc")),
        ({"Choice A": " A : Cube ", "Choice B": " Disc"}, ("Cube", "Disc")),
        ({"Choice A": "B:Cube", "Choice B": "Disc"}, ("B:Cube", "Disc")),
        ({"Choice A": 1, "Choice B": 2.0}, ("1", "2")),
    ],
)
def test_a_columns_own_letter_is_taken_off_and_no_other(columns, options):
    row = {"image": "a.png", "question": "Which?", "answer": "B"} | columns
    assert read_row(row).options == options


def test_a_table_may_hold_its_images_and_lists_of_them():
    content = read_row(TABLE)
    assert (content.images, content.options, content.answer) == ((PICTURE,), ("Cube", "Disc"), "B")
    assert content.fields == {"index": "7", "category": "shapes", "split": "test"}
    assert read_row(TABLE | {"image_path": "was/here.png"}).images == (PICTURE,)
    row = {**TABLE, "image": None}
    assert read_row(row | {"image_path": "a.png"}).images == ("a.png",)
    for text in ('["a.png", "b.png"]', "['a.png', 'b.png']", "[ 'a.png' ,\"b.png\" ]\n"):
        assert read_row(row | {"image_path": text}).images == ("a.png", "b.png")
    assert read_row(row | {"image_path": "[1].png"}).images == ("[1].png",)
    with pytest.raises(RowError, match=r"\(image_path, image\) are two names of one field"):
        read_row(row | {"image_path": "a.png", "image": "b.png"})


def test_yes_and_no_in_lettered_columns_stay_letters():
    content = read_row(OMNI | {"option_A": "Yes", "option_B": "No", "gt_answer": "no"})
    assert (content.form, content.answer) == ("letter", "B")


def test_omnimedvqas_answer_is_a_text_also_where_it_looks_like_a_letter():
    types = OMNI | {"option_A": "B", "option_B": "A", "gt_answer": "A"}
    assert read_row(types).answer == "B"
    with pytest.raises(RowError, match=r"\(gt_answer\) is no option"):
        read_row(OMNI | {"gt_answer": "B"})


@pytest.mark.parametrize(
    ("row", "value", "reason"),
    [
        (V2 | {"Answer": "D"}, "D", "(Answer) is no option: the row has options A to C"),
        (V2 | {"Answer": ""}, "", "(Answer) is empty: write the right option"),
        (
            V2 | {"Choice B": " B:"},
            ["Choice A", "Choice C"],
            "but Choice B before the last of them",
        ),
        (V2 | {"Choice AA": "x"}, ["Choice AA"], "name no option: they must be"),
        (V2 | {"Question": " "}, " ", "(Question) is not a text, or an empty one"),
        (TABLE | {"A": ""}, ["B"], "but A before the last of them is empty"),
        (TABLE | {"B": ""}, ["Cube"], "are too few options: a choice needs A and B"),
        (TABLE | {"B": ["x"]}, ["x"], "(B) is neither a text nor a number"),
        (
            OMNI | {"A": "x", "B": "y"},
            sorted([*OMNI, "A", "B"]),
            "two sets of options, option_A and",
        ),
    ],
)
def test_a_bad_row_is_named(row, value, reason):
    with pytest.raises(RowError) as caught:
        read_row(row)
    assert caught.value.value == value
    assert reason in str(caught.value)
