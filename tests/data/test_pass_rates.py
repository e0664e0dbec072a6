"""Pass rates by hand, as a slow mean has them, and through JSON to the bit."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.pass_rates import FLOOR, NEWEST, UNSEEN, PassRates, learnability_weights

OUTCOMES = st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1)), max_size=30)


def rates_of(outcomes, count: int = 5) -> PassRates:
    rates = PassRates(count)
    rates.add(outcomes)
    return rates


def test_weights_by_hand():
    # p = 0, 1/4, 1/2, 3/4, 1: p (1 - p) = 0, 3/16, 1/4, 3/16, 0; the floor is 0.025
    found = learnability_weights(np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert found.tolist() == pytest.approx([0.025, 0.2125, 0.275, 0.2125, 0.025], abs=1e-15)


@given(st.floats(0, 1))
def test_no_rate_weighs_nothing_none_more_than_a_half_and_passing_as_much_as_failing(rate):
    weight, other, most = learnability_weights(np.array([rate, 1 - rate, UNSEEN]))
    assert FLOOR <= weight <= most and weight == pytest.approx(other)


def test_rates_by_hand():
    # row 1: 0.5, then half way to 0: 0.25, then half way to 1: 0.625
    rates = rates_of([(1, 0.0), (3, 1.0), (1, 1.0)])
    assert rates.rates.tolist() == [0.5, 0.625, 0.5, 0.75, 0.5]
    assert rates.times_seen.tolist() == [0, 2, 0, 1, 0]


@given(OUTCOMES)
def test_rates_are_the_weighted_means_that_a_slow_sum_gives(outcomes):
    rates = rates_of(outcomes)
    for row in range(5):
        shares = [share for other, share in outcomes if other == row][::-1]  # the newest first
        mean = sum(NEWEST * (1 - NEWEST) ** age * share for age, share in enumerate(shares))
        assert rates.rates[row] == pytest.approx(mean + (1 - NEWEST) ** len(shares) * UNSEEN)
        assert 0 <= rates.rates[row] <= 1 and rates.times_seen[row] == len(shares)


@given(OUTCOMES)
def test_rates_go_through_json_to_the_bit(outcomes):
    rates = rates_of(outcomes)
    again = PassRates.of(json.loads(json.dumps(rates.state)), 5)
    assert again.rates.tobytes() == rates.rates.tobytes()
    assert again.times_seen.tobytes() == rates.times_seen.tobytes()


def test_rows_that_always_pass_or_never_go_through_it_too():
    state = rates_of([]).state | {"rows": [0, 1], "pass_rates": [0.0, 1.0], "times_seen": [9, 9]}
    assert PassRates.of(state, 5).state == state


def test_a_state_holds_only_rows_that_were_shown_at_most_three_numbers_for_each():
    assert rates_of([(1, 0.25)], count=100_000).state == {
        "examples": 100_000, "rows": [1], "pass_rates": [0.375], "times_seen": [1],
    }  # fmt: skip


def test_a_copy_is_changed_alone():
    rates = rates_of([(0, 1.0)])
    rates.copy().add([(0, 0.0)])
    assert rates.rates[0] == 0.75 and rates.times_seen[0] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"examples": 6}, "it is of 6 rows, and there are 5"),
        ({"examples": None}, "it is of None rows"),
        ({"rows": [5, 1]}, "5 is none of 5 rows"),
        ({"rows": [-1, 1]}, "-1 is none of 5 rows"),
        ({"rows": [0, 1.0]}, "1.0 is none of 5 rows"),
        ({"rows": [0, True]}, "True is none of 5 rows"),
        ({"rows": [0, "1"]}, "'1' is none of 5 rows"),
        ({"rows": [1]}, "shorter|longer"),
        ({"pass_rates": [0.5, 1.5]}, "row 1 has the pass rate 1.5"),
        ({"pass_rates": [0.5, float("nan")]}, "row 1 has the pass rate nan"),
        ({"pass_rates": [0.5, "x"]}, "row 1 has the pass rate 'x'"),
        ({"pass_rates": None}, "^rows, pass_rates and times_seen are not all lists$"),
        ({"times_seen": [1, 0]}, "row 1 was seen 0 times"),
        ({"times_seen": [1, 1.5]}, "row 1 was seen 1.5 times"),
    ],
)
def test_a_state_that_is_none_is_refused_by_what_is_wrong_with_it(change, message):
    state = rates_of([(0, 1.0), (1, 0.0)]).state | change
    with pytest.raises(ValueError, match=message):
        PassRates.of(state, 5)
