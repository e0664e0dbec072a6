"""What a row of rollouts.jsonl says of its question's key."""

import pytest

from grpo.run.rollouts import key_of
from tests.evaluation.mixed import QUESTIONS

pytestmark = pytest.mark.unit


def test_a_letter_needs_nothing_more_and_other_forms_say_what_else_is_right():
    assert key_of(QUESTIONS[0]) == {}
    assert key_of(QUESTIONS[2]) == {"form": "yes_no"}
    assert key_of(QUESTIONS[4]) == {"form": "text", "accepted": ["left side"]}
    assert key_of(QUESTIONS[6]) == {"form": "number", "absolute_tolerance": 0.5}
