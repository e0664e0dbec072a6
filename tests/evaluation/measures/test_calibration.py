"""Calibration by hand: bins, Brier scores, risk at every coverage."""

from itertools import permutations

import pytest

from evaluation.measures.calibration import (
    brier_score,
    expected_calibration_error,
    multiclass_brier_score,
    reliability_bins,
    risk_coverage,
    risk_coverage_area,
)


def test_the_error_of_six_rows_worked_by_hand():
    # 5 bins: (0.2, 0.4]: 0.3 wrong, 0.4 right -> mean 0.35, accuracy 0.5, gap 0.15
    #         (0.6, 0.8]: 0.7 right            -> gap 0.3
    #         (0.8, 1.0]: 0.9, 1.0 right, 0.95 wrong -> mean 0.95, accuracy 2/3, gap 0.283333
    confidences, correct = [0.3, 0.4, 0.7, 0.9, 1.0, 0.95], [0, 1, 1, 1, 1, 0]
    expected = (2 * 0.15 + 1 * 0.3 + 3 * (0.95 - 2 / 3)) / 6
    assert expected_calibration_error(confidences, correct, num_bins=5) == pytest.approx(expected)
    bins = reliability_bins(confidences, correct, num_bins=5)
    assert [item.n for item in bins] == [0, 2, 0, 1, 3]
    assert (bins[0].confidence, bins[0].accuracy) == (None, None)
    assert (bins[1].low, bins[1].high) == (0.2, 0.4)


def test_borders_belong_to_the_bin_below_and_zero_to_the_first():
    bins = reliability_bins([0.0, 0.5, 0.5000001, 1.0], [0, 0, 0, 0], num_bins=2)
    assert [item.n for item in bins] == [2, 2]
    # 0.2 * 15 is 3.0000000000000004: a product would put it one bin too high
    assert [i for i, item in enumerate(reliability_bins([0.2], [1])) if item.n] == [2]


def test_a_model_that_is_right_as_often_as_it_says_has_no_error():
    confidences = [0.75] * 4 + [0.25] * 4
    correct = [1, 1, 1, 0, 1, 0, 0, 0]
    assert expected_calibration_error(confidences, correct) == pytest.approx(0)
    # its mirror image claims 0.75 where it has 0.25
    assert expected_calibration_error(confidences, correct[::-1]) == pytest.approx(0.5)


def test_distances_do_not_cancel_between_bins():
    # 0.2 too low and 0.2 too high: the means agree, the bins do not
    assert expected_calibration_error([0.8, 0.2], [True, False]) == pytest.approx(0.2)


def test_brier_scores_worked_by_hand():
    assert brier_score([0.9, 0.6], [True, False]) == pytest.approx((0.01 + 0.36) / 2)
    rows = [{"A": 0.7, "B": 0.2, "C": 0.1}, {"A": 0.5, "B": 0.5}]
    # A: 0.09 + 0.04 + 0.01; B: 0.25 + 0.25
    assert multiclass_brier_score(rows, ["A", "B"]) == pytest.approx((0.14 + 0.5) / 2)
    # sure and wrong is 2, not 1: both options are off
    assert multiclass_brier_score([{"A": 1.0, "B": 0.0}], ["B"]) == 2.0


def test_risk_grows_along_the_order_of_confidence():
    confidences, correct = [0.2, 0.9, 0.5, 0.7], [False, True, True, False]
    coverages, risks = risk_coverage(confidences, correct)
    assert coverages == [0.25, 0.5, 0.75, 1.0]
    assert risks == pytest.approx([0, 1 / 2, 1 / 3, 2 / 4])  # order 0.9, 0.7, 0.5, 0.2
    assert risk_coverage_area(confidences, correct) == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_equal_confidences_stand_for_the_mean_over_their_orders():
    tied = [True, False, True, False]
    curves = []
    for order in permutations(tied):
        # a strict order in place of the tie, behind one surer wrong row
        curves.append(risk_coverage([0.9, 0.6, 0.5, 0.4, 0.3], [False, *order])[1])
    expected = [sum(points) / len(curves) for points in zip(*curves, strict=True)]
    assert risk_coverage([0.9, 0.5, 0.5, 0.5, 0.5], [False, *tied])[1] == pytest.approx(expected)
    assert risk_coverage([0.5] * 4, tied)[1] == [0.5] * 4


def test_the_area_rewards_an_order_not_the_values():
    correct = [True, True, False, False]
    best, worst = [0.9, 0.8, 0.2, 0.1], [0.1, 0.2, 0.8, 0.9]
    assert risk_coverage_area(best, correct) == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert risk_coverage_area(worst, correct) == pytest.approx((1 + 1 + 2 / 3 + 2 / 4) / 4)
    halved = [value / 2 for value in best]
    assert risk_coverage_area(halved, correct) == risk_coverage_area(best, correct)


@pytest.mark.parametrize(
    "measure", [expected_calibration_error, brier_score, risk_coverage, risk_coverage_area]
)
@pytest.mark.parametrize(
    ("confidences", "correct", "message"),
    [
        ([], [], "0 confidences and 0 answers: pass one of each per row, at least one"),
        ([0.5], [True, False], "1 confidences and 2 answers"),
        ([0.5, 1.5], [True, False], "row 1: confidence 1.5 is no probability"),
        ([-0.1], [True], "row 0: confidence -0.1 is no probability"),
        ([float("nan")], [True], "row 0: confidence nan is no probability"),
    ],
)
def test_what_is_no_confidence_is_named(measure, confidences, correct, message):
    with pytest.raises(ValueError, match=message):
        measure(confidences, correct)


def test_bad_bins_and_bad_probabilities_are_named():
    with pytest.raises(ValueError, match="0 bins hold nothing"):
        reliability_bins([0.5], [True], num_bins=0)
    with pytest.raises(ValueError, match="1 probabilities and 0 answers"):
        multiclass_brier_score([{"A": 1.0}], [])
    with pytest.raises(ValueError, match=r"row 0: .* no probabilities of options that hold 'C'"):
        multiclass_brier_score([{"A": 0.5, "B": 0.5}], ["C"])
    with pytest.raises(ValueError, match=r"row 1: .* with the sum 1"):
        multiclass_brier_score([{"A": 1.0}, {"A": 0.5, "B": 0.4}], ["A", "A"])
