"""What a completion amounts to, for the strict and the forgiving reader."""

import pytest

from data.examples import VQAExample
from evaluation.answers.prediction import judge


@pytest.mark.parametrize(
    ("form", "key"),
    [
        ("text", "St. Jude valve"),  # looks like two sentences
        ("text", "The answer is unknown"),
        ("text", "**"),
        ("labels", "bone and joint disease, line"),  # "and" parts labels, too
        ("labels", "and"),
        ("number", "-0.5"),
    ],
)
def test_whoever_is_right_for_the_strict_reader_is_right_for_the_forgiving_one(form, key):
    example = VQAExample("a-0", (), "?", (), key, form=form)
    found = judge(
        example, f"<answer>{key}</answer>", mode="no_think", completion_tokens=1, truncated=False
    )
    assert found.correct and found.lenient_correct
    wrong = judge(example, f"<answer>{key}", mode="no_think", completion_tokens=1, truncated=True)
    assert not wrong.correct
