"""Whether two answers to one question say the same, whatever is right."""

from types import SimpleNamespace

from evaluation.answers.prediction import Prediction
from rewards.forms import FORMS


def same_answer(one: Prediction, other: Prediction) -> bool:
    """Return whether one answer would be right if the other were the key, without a tolerance.

    Read strictly. No readable answer is the same as no readable answer, and as nothing else.

    Args:
        one: an answer.
        other: another to the same question, its options in the same order.
    """
    if one.choice is None or other.choice is None:
        return one.choice == other.choice
    key = SimpleNamespace(
        answer=one.choice, accepted=(), absolute_tolerance=0.0, relative_tolerance=0.0
    )
    return FORMS[one.form].is_right(other.choice, key)
