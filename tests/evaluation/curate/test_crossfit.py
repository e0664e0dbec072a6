"""A text prior never answers a row whose image it has seen."""

from dataclasses import replace

from evaluation.curate.crossfit import crossfit, image_folds
from tests.evaluation.curate.rows import row


def test_rows_of_one_image_share_a_fold_and_no_fold_is_empty():
    rows = [row(number, image=f"{number // 3}.png") for number in range(30)]
    folds = image_folds(rows, seed=0)
    assert set(folds) == set(range(5))
    assert all(len({folds[i] for i in range(start, start + 3)}) == 1 for start in range(0, 30, 3))
    assert folds != image_folds(rows, seed=1)


def test_no_row_vouches_for_itself():
    # each right answer occurs on one image alone: who has seen the row knows it, nobody else does
    rows = [
        row(number, "C", (f"p{number}", f"q{number}", f"right{number // 2}"), f"{number // 2}.png")
        for number in range(20)
    ]
    assert crossfit(rows, "lookup", seed=0) == ["A"] * 20  # all unseen: the first of equals
    assert crossfit(rows[:2], "lookup", seed=0) is None
    common = [replace(item, options=(*item.options[:2], "right")) for item in rows]
    assert crossfit(common, "lookup", seed=0) == ["C"] * 20


def test_what_a_prior_has_no_answer_to_stays_unanswered():
    rows = [row(i) for i in range(6)]
    rows += [row(10 + i, form="text", options=(), answer="liver") for i in range(6)]
    assert crossfit(rows, "lookup", seed=0)[6:] == [None] * 6
    assert crossfit(rows, "answer majority", seed=0) == [None] * 6 + ["liver"] * 6
    assert crossfit(rows, "question majority", seed=0)[6:] == ["liver"] * 6
