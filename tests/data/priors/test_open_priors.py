"""Text priors of open questions, and of files that mix them with choices: counts by hand."""

import os
import subprocess
import sys

import pytest

from data.priors import PRIORS, AnswerMajority, NearestQuestion, QuestionMajority, accuracy, fit_all
from data.priors.fitted import chance, prior_table
from tests.data.audit_rows import example
from tests.places import ROOT

pytestmark = pytest.mark.unit


def text(question: str, answer: str, form: str = "text", **more):
    return example(question, [], answer, form=form, **more)


# Of texts "liver" is the commonest (three spellings), then "spleen"; of numbers 2.
TRAIN = [
    text("Which organ is large?", "Liver"),
    text("Which organ is large?", "the liver"),
    text("Which organ is large?", "spleen"),
    text("Where is the mass in the lung?", "left lung"),
    text("What is bright?", "spleen"),
    text("What is dark?", "livers"),
    text("How many kidneys are seen?", "2", "number"),
    text("How many masses are seen?", "1", "number"),
    text("How many lungs are seen?", "2", "number"),
    example("Is it large?", ["Yes", "No"], "B", form="yes_no"),
    example("Which?", ["cat", "dog"], "A"),
]


def test_the_answer_majority_takes_the_commonest_answer_of_the_form():
    majority = AnswerMajority().fit(TRAIN)
    assert majority.choose(text("New?", "x")) == "Liver"  # as it was first written
    assert majority.choose(text("New?", "7", "number")) == "2"
    assert majority.choose(TRAIN[-1]) is None
    assert majority.choose(text("New?", "a, b", "labels")) is None  # never seen


def test_the_question_majority_takes_the_commonest_answer_to_these_words():
    majority = QuestionMajority().fit(TRAIN)
    assert majority.choose(text("What is bright?", "x")) == "spleen"
    assert majority.choose(text("Which organ is large?", "x")) == "Liver"
    assert majority.choose(text("New?", "x")) == "Liver"  # the form's
    assert majority.choose(text("What is bright?", "7", "number")) == "2"  # of another form
    assert majority.choose(TRAIN[-2]) == "B" and majority.choose(TRAIN[-1]) == "A"


def test_the_nearest_question_is_the_one_that_shares_the_rarest_words():
    nearest = NearestQuestion().fit(TRAIN)
    assert nearest.choose(text("Is the mass in a lung?", "x")) == "left lung"
    assert nearest.choose(text("what is BRIGHT", "x")) == "spleen"
    assert nearest.choose(text("How many masses?", "7", "number")) == "1"
    assert nearest.choose(text("Wo?", "x")) == "Liver"  # no word is shared: the form's commonest
    assert nearest.choose(TRAIN[-1]) is None
    longer = text("What is bright in the upper part of this large picture?", "bone")
    assert NearestQuestion().fit([longer, TRAIN[4]]).choose(text("What's bright?", "x")) == "spleen"


@pytest.mark.command
def test_of_equally_alike_questions_every_process_takes_the_first():
    # all three of them share "how many", and have one rare word: a set's order is a process's own
    script = (
        "from tests.data.priors.test_open_priors import *\n"
        "nearest = NearestQuestion().fit(TRAIN)\n"
        "print(nearest.choose(text('How many bones?', '2', 'number')))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (0, 1, 5, 7)
    }
    assert answers == {"2\n"}


def test_priors_of_options_have_no_answer_to_open_questions_nor_without_options_to_learn_from():
    for name in ("lookup", "linear ranker"):
        prior = PRIORS[name]().fit(TRAIN)
        assert prior.choose_all([TRAIN[0], TRAIN[-1]]) == [None, prior.choose(TRAIN[-1])]
        assert prior.choose(TRAIN[-1]) == "A"
        unlearned = PRIORS[name]().fit(TRAIN[:3])
        assert unlearned.choose_all(TRAIN) == [None] * len(TRAIN)
        assert unlearned.choose(TRAIN[-1]) is None


@pytest.mark.parametrize("name", PRIORS)
def test_many_rows_are_answered_as_each_alone(name):
    prior = PRIORS[name]().fit(TRAIN)
    assert prior.choose_all(TRAIN) == [prior.choose(row) for row in TRAIN]
    with pytest.raises(ValueError, match="has no train row to be fitted on"):
        PRIORS[name]().fit([])


def test_a_mixed_file_is_scored_by_what_each_prior_has_an_answer_to():
    test = [
        text("Which organ is large?", "liver", id="t-0"),
        text("What is bright?", "bone", id="t-1"),
        text("How many bones?", "2", "number", id="t-2"),
        example("Which?", ["dog", "cat"], "B", id="c-0"),
        example("Is it so?", ["Yes", "No"], "A", form="yes_no", id="c-1"),
    ]
    table = prior_table(fit_all(TRAIN), test)
    counts = {name: (found["n"], found["right"]) for name, found in table["priors"].items()}
    assert counts["lookup"] == (2, 1)  # cat, but No
    assert counts["question majority"] == (5, 3)  # t-0, t-2, c-0
    assert counts["answer majority"] == (3, 2) and counts["nearest question"] == (3, 2)
    assert table["lookup_wrong"] == ["c-1"]
    assert (table["chance"], table["closed"]["chance"]) == (None, 0.5)
    assert table["open"]["chance"] is None
    assert (table["closed"]["n"], table["open"]["n"]) == (2, 3)
    assert list(table["open"]["priors"]) == [
        "question majority", "answer majority", "nearest question"
    ]  # fmt: skip
    of_parts = [table[part]["priors"]["question majority"]["right"] for part in ("closed", "open")]
    assert sum(of_parts) == table["priors"]["question majority"]["right"]
    alone = prior_table(TRAIN, test[3:4])
    assert list(alone["priors"]) == ["lookup", "question majority", "linear ranker"]
    assert "open" not in alone
    assert accuracy(AnswerMajority().fit(TRAIN), test[3:]) == {
        "n": 0, "right": 0, "accuracy": None
    }  # fmt: skip
    assert chance(test[3:]) == 0.5 and chance(test) is None
