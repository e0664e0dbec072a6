"""Whatever a row, an option, a prompt or a completion holds: time grows with it, never faster."""

import pytest

from data.examples import VQAExample
from data.options import same_option
from data.patients import patient_id
from data.priors.hashed import option_columns
from data.prompts import check_template, render_prompt
from data.reading.families import RowError, read_row
from data.reading.placeholders import placeholder_problem, without_placeholders
from data.references import names_options
from data.splits.answers import is_yes_or_no, may_both_be_right, surface, words_of_answer
from data.splits.tasks import task_of
from rewards import parse_completion
from tests.growth import LINEAR, TIMES, growth

ROW = {"image": "a.png", "problem": "What? A)CT, B)MRI", "solution": "<answer> A </answer>"}
TABLE_ROW = {"image_path": "a.png", "question": "What?", "gt_answer": "CT"}
TABLE_ROW |= {"option_A": "CT", "option_B": "MRI"}


def example(question="What?", option="CT"):
    return VQAExample("x-0", (), question, (option, "MRI"), "A")


def row_of(field, base=ROW):
    return lambda text: read_row(base | {field: text})


FUNCTIONS = {
    "a problem": row_of("problem"),
    "a solution": row_of("solution"),
    "an image's path": row_of("image"),
    "a data set's name": row_of("dataset"),
    "a question": row_of("question", TABLE_ROW),
    "an option": row_of("option_A", TABLE_ROW),
    "an answer": row_of("gt_answer", TABLE_ROW),
    "a field's name": lambda text: read_row(TABLE_ROW | {"option_" + text: "x"}),
    "two options compared": same_option,
    "an option that names others": lambda text: names_options.__wrapped__(text, 4),
    "a mark for the image": lambda text: (placeholder_problem(text), without_placeholders(text, 1)),
    "a patient's number": lambda text: patient_id(text, "Covid CT"),
    "a template": lambda text: check_template(text, "a"),
    "a prompt": lambda text: render_prompt("{question} {options}", text, (text, text)),
    "the features of an option": lambda text: option_columns(example(text, text)),
    "a task": lambda text: task_of(example(text, text)),
    "a surface form": surface,
    "an answer's words": lambda text: words_of_answer.__wrapped__(text),
    "two answers": lambda text: may_both_be_right(text, text + "x"),
    "a yes": is_yes_or_no,
    "a completion": lambda text: parse_completion(text, "think", ("No", "Left lung", text[:99])),
    "a completion and an option": lambda t: parse_completion(t, "think", (t[: len(t) // 2], "No")),
}
PIECES = [
    *("A) ", ", B)", " ", "\n", "<image>", "< ", "</", "<|", "<|x", "{question}", "no ", "bb "),
    *(
        "no sign ",
        "type of ",
        "method ",
        "option IV",
        "A or B ",
        "(A",
        "1.",
        "'s",
        "x'",
        "\u0315\u0300",
    ),
    *("<think>", "<answer>", "</answer>B", "/a-p1-", "type of method no <image> A) \u0315\u0300"),
]


@pytest.mark.parametrize("what", FUNCTIONS)
def test_the_time_of_reading_grows_with_the_text_and_not_with_its_square(what):
    for piece in PIECES:

        def call(text, piece=piece):
            try:
                FUNCTIONS[what](text)
            except RowError as error:
                assert piece is not None and str(error)

        ratio = growth(call, piece, 2048)
        assert ratio < LINEAR, f"{what} of {piece!r}: {ratio:.0f} times for {TIMES} times the text"


def test_marks_without_end_make_texts_differ_as_before():
    zalgo = "a" + "\u0315\u0300" * 500
    assert same_option(zalgo) == same_option(zalgo.upper()) != same_option("a")
    assert same_option("e\u0301") == same_option("\u00e9")
    assert same_option("a\u0315\u0300") == same_option("a\u0300\u0315")
