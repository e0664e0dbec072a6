"""Confidence and text priors of hand-made predictions."""

from dataclasses import replace
from pathlib import Path

import pytest

from data.examples import VQAExample
from evaluation.answers.prediction import judge
from evaluation.measures.letter_confidence import summarize_confidence
from evaluation.measures.priors import FittedPriors, summarize_priors
from evaluation.report.extra_text import letters_note


def example(number, answer="B", image=None):
    images = (Path(image or f"{number}.png"),)
    return VQAExample(f"row-{number}", images, "Which?", ("w", "x"), answer)


def predict(row, completion, **probabilities):
    return judge(
        row,
        completion,
        mode="no_think",
        completion_tokens=3,
        truncated=False,
        letter_probabilities=probabilities or None,
    )


def test_confidence_is_that_of_the_written_letter_worked_by_hand():
    rows = [
        predict(example(0), "<answer>B</answer>", A=0.2, B=0.8),
        # written is A although B is likelier by the tag: what counts is what was answered
        predict(example(1), "<answer>A</answer>", A=0.4, B=0.6),
        predict(example(2), "text <answer>B</answer>", A=0.1, B=0.9),  # right, but not well-formed
        predict(example(3), "<answer>A or B</answer>", A=0.5, B=0.5),
        predict(example(4), "no tag"),
        predict(example(5), "no tag either"),
    ]
    result = summarize_confidence(rows)
    assert (result["n"], result["without_answer_tag"], result["without_choice"]) == (3, 2, 1)
    assert result["accuracy"] == pytest.approx(2 / 3)
    assert result["confidence"] == pytest.approx((0.8 + 0.4 + 0.9) / 3)
    # each alone in its bin: |1 - 0.8|, |0 - 0.4|, |1 - 0.9|
    assert result["ece"] == pytest.approx((0.2 + 0.4 + 0.1) / 3)
    assert result["brier"] == pytest.approx((0.04 + 0.16 + 0.01) / 3)
    assert result["brier_options"] == pytest.approx((0.08 + 0.32 + 0.02) / 3)
    assert result["risk_coverage_area"] == pytest.approx((0 + 0 + 1 / 3) / 3)
    assert sum(item["n"] for item in result["bins"]) == 3


def test_letters_that_are_hardly_written_are_not_measured_and_counted():
    rows = [
        replace(predict(example(i), "<answer>B</answer>", A=0.2, B=0.8), letter_mass=mass)
        for i, mass in enumerate((0.9, 0.49, 0.5, None))
    ]
    result = summarize_confidence(rows)
    assert (result["n"], result["little_mass"], result["without_choice"]) == (3, 1, 0)
    assert result["letter_mass"] == pytest.approx((0.9 + 0.49 + 0.5) / 3)
    assert letters_note({"calibration": result}) == (
        "a letter stands behind <answer> with probability 63.0 %; 1 answers under 50.0 % are not"
        " measured, left out of the confidence"
    )
    assert letters_note({"calibration": summarize_confidence(rows[3:])}) == ""


def test_without_any_probability_the_numbers_are_absent_and_the_rows_counted():
    result = summarize_confidence([predict(example(0), "<answer>B</answer>")])
    assert (result["n"], result["without_answer_tag"]) == (0, 1)
    assert result["ece"] is result["risk_coverage_area"] is None
    assert result["bins"] == []


def test_rounding_above_one_is_no_error():
    row = predict(example(0), "<answer>B</answer>", A=0.0, B=1.0000000000000002)
    assert summarize_confidence([row])["confidence"] == 1.0


class Always:
    """A prior that likes one letter."""

    def __init__(self, letter):
        self._letter = letter

    def choose(self, _example):
        return self._letter


def fitted(**priors):
    return FittedPriors(priors, frozenset())


def test_priors_are_scored_and_the_model_where_they_are_wrong():
    rows = [example(i, answer) for i, answer in enumerate("ABBBA")]
    letters = zip(rows, "ABAAB", strict=True)
    model = [predict(row, f"<answer>{letter}</answer>") for row, letter in letters]
    result = summarize_priors(fitted(a=Always("A"), b=Always("B")), rows, model)
    assert result["a"]["prior"]["accuracy"] == 2 / 5
    assert result["b"]["prior"]["accuracy"] == 3 / 5
    # "A" is wrong on rows 1, 2, 3, of which the model has row 1
    assert result["a"]["model_where_wrong"]["accuracy"] == pytest.approx(1 / 3)
    assert result["a"]["model_where_wrong"]["n"] == 3
    assert result["b"]["model_where_wrong"]["accuracy"] == pytest.approx(1 / 2)
    assert result["a"]["prior"]["chance"] == 0.5


def test_a_prior_that_is_never_wrong_leaves_no_rows():
    rows = [replace(example(i), answer="A") for i in range(3)]
    model = [predict(row, "<answer>B</answer>") for row in rows]
    result = summarize_priors(fitted(a=Always("A")), rows, model)["a"]
    assert (result["prior"]["accuracy"], result["model_where_wrong"]) == (1.0, None)
