"""Questions of all forms in one evaluation: the numbers of tests/evaluation/mixed.py by hand."""

from dataclasses import replace

import pytest

from evaluation.answers.prediction import judge
from evaluation.asking.orders import option_orders, permuted_rows
from evaluation.measures.letter_confidence import summarize_confidence
from evaluation.measures.permutations import summarize_permutations
from evaluation.measures.summary import summarize
from evaluation.measures.thought_classes import summarize_thoughts
from evaluation.report.extra_text import extra_table, letters_note
from evaluation.report.thought_text import thought_table
from tests.evaluation.mixed import QUESTIONS, answered

pytestmark = pytest.mark.unit


@pytest.fixture
def rows():
    return answered()


def test_each_form_is_read_and_judged_in_its_own_way(rows):
    assert [item.correct for item in rows] == [True, False, True, False, True, False, True, False]
    assert [item.lenient_correct for item in rows[:4]] == [True, False, True, True]
    assert [item.choice for item in rows[:4]] == ["A", "A", "A", None]


def test_there_is_a_chance_only_where_every_row_has_one(rows):
    assert summarize(rows)["overall"]["chance"] is None
    # a quarter, a half, and two halves for yes or no
    assert summarize(rows[:4])["overall"]["chance"] == pytest.approx((1 / 4 + 3 / 2) / 4)


def test_only_letters_have_probabilities_and_the_other_rows_are_counted(rows):
    sure = {"A": 0.75, "B": 0.25}
    rows = [replace(row, letter_probabilities=sure, letter_mass=0.9) for row in rows[:2]] + rows[2:]
    found = summarize_confidence(rows)
    assert (found["n"], found["not_lettered"], found["without_answer_tag"]) == (2, 6, 0)
    assert (found["accuracy"], found["confidence"]) == (0.5, 0.75)
    note = letters_note({"calibration": found})
    assert note.endswith("; 6 rows answered by yes or no, a text or a number have none")
    assert "not_lettered" not in summarize_confidence(rows[:2])


def test_only_lettered_options_have_other_orders():
    assert [len(option_orders(item, 4, seed=0)) for item in QUESTIONS] == [4, 2, *[1] * 6]
    asked = permuted_rows(QUESTIONS, 4, seed=0)
    assert {item.id for rows in asked for item, _ in rows} == {"letter-0", "letter-1"}
    with pytest.raises(ValueError, match="no row has lettered options"):
        permuted_rows(QUESTIONS[2:], 4, seed=0)


def test_orders_are_summed_up_over_the_lettered_rows_and_the_others_counted(rows):
    other = replace(rows[1], options=("MRI", "CT"), permutation=(1, 0), answer="A", correct=True)
    found = summarize_permutations(rows, [other], 2)
    assert (found["n"], found["not_lettered"], found["kept_order"]) == (2, 6, 0)
    # letter-0 is right in its one order, letter-1 in one of two; its A is CT, then MRI
    assert (found["accuracy"], found["all_right"], found["text_changes"]) == (0.75, 0.5, 0.5)
    assert "options are not lettered" in extra_table({"permutations": found})
    assert "not_lettered" not in summarize_permutations(rows[:2], [other], 2)


def test_a_thought_names_the_written_answer_of_an_open_question_or_it_does_not():
    def judged(example, thought, answer):
        text = f"<think>{thought}</think><answer>{answer}</answer>"
        return judge(example, text, mode="think", completion_tokens=9, truncated=False)

    lung, two = QUESTIONS[4], QUESTIONS[6]
    rows = [
        judged(QUESTIONS[0], "a bright ring, so CT", "A"),
        judged(lung, "dark, so the Left Lung.", "left lung"),
        judged(lung, "a dark field", "left lung"),
        judged(two, "there are 3 of them", "3"),
        judged(two, "there are 13 of them", "3"),
        judged(two, "", "3"),
        judged(two, "many of them", "many"),
        judged(QUESTIONS[2], "there is no mass", "yes"),
        replace(judged(lung, "", "left lung"), completion="<answer>left lung</answer>"),
    ]
    found = summarize_thoughts(rows, "think", len)
    assert {name: entry["n"] for name, entry in found["classes"].items()} == {
        "chosen": 3, "several": 0, "other": 0, "none": 2, "empty": 1, "missing": 1, "no_choice": 1
    }  # fmt: skip
    assert (found["n"], found["yes_or_no"]) == (8, 1)
    assert "left out: 1 questions of yes or no" in thought_table(found)
    alone = summarize_thoughts([rows[7]], "think", len)
    assert alone["reason"] == "all questions are yes or no"
    assert "yes_or_no" not in summarize_thoughts(rows[:3], "think", len)
