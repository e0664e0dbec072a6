"""Which option a thought names: by its text, by its letter, and what the summary makes of it."""

import json
from pathlib import Path

import pytest

from data.examples import VQAExample
from evaluation.answers.prediction import judge
from evaluation.measures.thought_classes import (
    CLASSES,
    named_letters,
    summarize_thoughts,
    thought_class,
)
from evaluation.report.thought_text import thought_table

ORGANS = ("lung", "left lung", "heart", "liver")


@pytest.mark.parametrize(
    ("thought", "options", "named"),
    [
        ("It is the LEFT\n lung.", ORGANS, "B"),  # the longer phrase alone
        ("lung, perhaps the left lung", ORGANS, "AB"),  # the shorter one stands elsewhere, too
        ("lungs and hearts", ORGANS, ""),  # whole words
        ("an X ray", ("x-ray", "CT"), "A"),  # punctuation ignored
        ("(c) it must be", ORGANS, "C"),
        ("so option d", ORGANS, "D"),
        ("The answer is B", ORGANS, "B"),
        ("A dark field. I see a ring", tuple("wxyzuvrst"), ""),  # an article and a pronoun
        ("A CT of it", ORGANS, ""),
        ("A is right, not B.", ORGANS, "AB"),
        ("B-scan of the patient's eye", ORGANS, ""),
        ("option E", ORGANS, ""),  # beyond the options
        ("hepatitis B", ("hepatitis A", "flu", "hepatitis B"), "C"),  # its letter is no option's
        ("CT scan of head", ("CT scan", "scan of head"), "AB"),  # overlap, neither in the other
        ("grade +2", ("+2", "-2", "0"), "AB"),  # nothing tells them apart
        ("???", ("?", "!"), ""),
        ("", ORGANS, ""),
    ],
)
def test_what_a_thought_names(thought, options, named):
    assert named_letters(thought, options) == set(named)


@pytest.mark.parametrize(
    ("thought", "choice", "expected"),
    [
        ("the heart is large", "C", "chosen"),
        ("heart, not liver", "C", "several"),
        ("the left lung", "A", "other"),  # the chosen "lung" inside it is not named
        ("heart or liver", "A", "other"),
        ("a bright ring", "A", "none"),
        (" \n..", "A", "empty"),
        (None, "A", "missing"),
        ("the heart", None, "no_choice"),
    ],
)
def test_the_class_of_a_thought(thought, choice, expected):
    assert thought_class(thought, ORGANS, choice) == expected


def test_options_that_differ_in_punctuation_alone_count_as_one():
    assert thought_class("grade +2", ("+2", "-2", "0"), "B") == "chosen"


def predict(number, completion, mode="think"):
    row = VQAExample(f"row-{number}", (Path(f"{number}.png"),), "Which?", ORGANS, "C", "CT")
    return judge(row, completion, mode=mode, completion_tokens=9, truncated=False)


def words(text):
    return len(text.split())


def test_shares_accuracies_and_length_worked_by_hand():
    rows = [
        predict(0, "<think>the heart</think><answer>C</answer>"),
        predict(1, "<think>a liver</think><answer>D</answer>"),  # names what it chose, wrong
        predict(2, "<think>left lung</think><answer>C</answer>"),  # names another, right
        predict(3, "<answer>C</answer>"),
        predict(4, "<think></think><answer>C</answer>"),
    ]
    found = summarize_thoughts(rows, "think", words)
    classes = found["classes"]
    assert list(classes) == list(CLASSES)
    assert {name: classes[name]["n"] for name in CLASSES} == {
        **dict.fromkeys(CLASSES, 0),
        **{"chosen": 2, "other": 1, "missing": 1, "empty": 1},
    }
    assert sum(entry["share"] for entry in classes.values()) == pytest.approx(1)
    assert (classes["chosen"]["share"], classes["chosen"]["accuracy"]) == (0.4, 0.5)
    assert classes["other"]["accuracy"] == 1.0
    assert classes["empty"]["accuracy"] == 0.0  # not well-formed
    assert found["tokens"] == (2 + 2 + 2 + 0) / 4  # the missing one has no length
    json.dumps(found, allow_nan=False)
    lines = [" ".join(line.split()) for line in thought_table(found).splitlines()]
    assert any(line.startswith("names the chosen option 2 40.0 50.0 ") for line in lines)
    assert "names no option 0 0.0" in lines
    assert "mean length of a thought: 1.5 tokens" in lines


def test_a_thought_behind_the_answer_is_read_too():
    row = predict(0, "<answer>C</answer><think>the liver</think>", "think_after")
    found = summarize_thoughts([row], "think_after", words)
    assert found["classes"]["other"] == {**found["classes"]["other"], "n": 1, "accuracy": 1.0}


def test_a_mode_without_a_thought_says_so():
    found = summarize_thoughts([predict(0, "<answer>C</answer>", "no_think")], "no_think", words)
    assert found == {
        "mode": "no_think",
        "applicable": False,
        "reason": "no_think writes no thought",
    }
    assert thought_table(found) == "thoughts: not applicable, no_think writes no thought"


def test_without_predictions_there_is_nothing_to_summarize():
    with pytest.raises(ValueError, match="no predictions to read thoughts of"):
        summarize_thoughts([], "think", words)
