"""What the filter does to a handful of rows, counted by hand."""

from dataclasses import replace

import pytest

from evaluation.curate.effect import summarize_curation
from evaluation.curate.effect_text import curation_table
from evaluation.curate.pass_counts import Passes
from evaluation.curate.reasons import judge_row
from tests.evaluation.curate.rows import row


def test_what_the_filter_does_worked_by_hand():
    rows = [row(i, modality="CT" if i < 3 else "MRI") for i in range(4)]
    counts = [Passes("r-0", 4, 0), Passes("r-1", 2, 1), Passes("r-2", 1, 3), Passes("r-3", 0, 0)]
    verdicts = [
        judge_row(*pair, "A", samples=4, drop=["always_right", "always_wrong"], blind_share=0.75)
        for pair in zip(rows, counts, strict=True)
    ]
    found = summarize_curation(
        rows, verdicts, drop=["always_right", "always_wrong"], prior="lookup", group_size=2, seed=0
    )
    assert (found["rows"], found["kept"]) == (4, 2)
    assert {name: entry["rows"] for name, entry in found["reasons"].items()} == {
        **{"always_right": 1, "always_wrong": 1, "blind": 1, "prior": 4}
    }
    assert found["before"]["pass_rate"] == 7 / 16
    assert found["before"]["blank_pass_rate"] == 4 / 16
    assert found["before"]["zero_spread"] == pytest.approx((1 + 0.5 + 0.625 + 1) / 4)
    assert found["after"]["zero_spread"] == pytest.approx((0.5 + 0.625) / 2)
    assert found["after"]["pass_rate"] == 3 / 8
    assert found["before"]["prior_accuracy"] == found["after"]["prior_accuracy"] == 1.0
    ct, mri = found["by_modality"]["CT"], found["by_modality"]["MRI"]
    assert (ct["kept"], ct["share_before"], ct["share_after"]) == (2, 0.75, 1.0)
    assert (mri["kept"], mri["share_after"]) == (0, 0.0)
    table = [" ".join(line.split()) for line in curation_table(found).splitlines()]
    assert "CT 3 2 75.0 100.0 1 0 1 3" in table
    assert max(map(len, curation_table(found).splitlines())) < 100


def test_a_row_without_an_image_is_never_blind_and_an_open_question_has_no_chance():
    rows = [
        row(0, form="text", options=(), answer="liver"),
        replace(row(1, form="text", options=(), answer="spleen"), images=()),
        row(2),
    ]
    counts = [Passes("r-0", 1, 4), Passes("r-1", 4, None), Passes("r-2", 2, 2)]
    verdicts = [
        judge_row(*triple, samples=4, drop=["blind"], blind_share=0.75)
        for triple in zip(rows, counts, ("Liver", None, "A"), strict=True)
    ]
    assert [item.reasons for item in verdicts] == [
        ("blind", "prior"), ("always_right",), ("prior",)
    ]  # fmt: skip
    assert [item.blank_passes for item in verdicts] == [4, None, 2]
    found = summarize_curation(
        rows, verdicts, drop=["blind"], prior="question majority", group_size=2, seed=0
    )
    assert found["before"]["blank_pass_rate"] == (4 + 2) / (2 * 4)
    assert found["before"]["chance"] is None
    assert curation_table(found)
    alone = summarize_curation(
        rows[1:2], verdicts[1:2], drop=["blind"], prior="lookup", group_size=2, seed=0
    )
    assert alone["before"]["blank_pass_rate"] is None
