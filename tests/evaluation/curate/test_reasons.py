"""Why a row may not be worth its rollouts, from counts alone."""

import pytest

from evaluation.curate.pass_counts import Passes
from evaluation.curate.reasons import judge_row, zero_spread
from tests.evaluation.curate.rows import row


@pytest.mark.parametrize(
    ("passes", "blank", "prior", "reasons"),
    [
        (8, 0, "B", ("always_right",)),
        (7, 0, "B", ()),
        (0, 0, "B", ("always_wrong",)),
        (1, 0, "B", ()),
        (4, 6, "B", ("blind",)),  # 6 of 8 is the share 0.75
        (4, 5, "B", ()),
        (4, 0, "A", ("prior",)),  # the right answer is A
        (8, 8, "A", ("always_right", "blind", "prior")),
    ],
)
def test_reasons_and_their_thresholds(passes, blank, prior, reasons):
    counts = Passes("r-0", passes, blank)
    found = judge_row(row(0), counts, prior, samples=8, drop=["blind"], blind_share=0.75)
    assert found.reasons == reasons
    assert found.kept == ("blind" not in reasons)  # others are said, and drop nothing here


def test_groups_without_spread_worked_by_hand():
    # p = 0, 1/2, 1/4 at G = 2: 1, 1/2, 1/16 + 9/16
    assert zero_spread([0, 2, 1], 4, 2) == pytest.approx((1 + 0.5 + 0.625) / 3)
