"""Questions of all forms in one evaluation: the numbers of tests/evaluation/mixed.py by hand."""

import pytest

from evaluation.measures.summary import summarize
from tests.evaluation.mixed import answered

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
