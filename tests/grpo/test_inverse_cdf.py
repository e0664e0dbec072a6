"""Inverse-CDF sampling on distributions small enough to work out by hand."""

import math

import pytest
import torch

from grpo.inverse_cdf import (
    _first_above,
    inverse_cdf,
    keep_likeliest,
    likeliest_ids,
    sample_ids,
)


@pytest.mark.parametrize(
    ("uniform", "expected"),
    [(0.0, 0), (0.19, 0), (0.21, 1), (0.49, 1), (0.51, 3), (0.999, 3)],
)
def test_worked_example(uniform, expected):
    # cumulative 0.2, 0.5, 0.5, 1.0: id 2 has probability 0 and can never come
    probabilities = torch.tensor([[0.2, 0.3, 0.0, 0.5]])
    assert sample_ids(probabilities, torch.tensor([uniform])).item() == expected


def test_a_zero_uniform_skips_leading_ids_of_probability_zero():
    probabilities = torch.tensor([[0.0, 0.0, 1.0]])
    assert sample_ids(probabilities, torch.tensor([0.0])).item() == 2


def test_the_largest_uniform_never_takes_a_banned_id_past_the_end():
    # in float32 the sum over a real vocabulary ends near 0.999999; the last 300 ids are banned
    torch.manual_seed(0)
    logits = torch.randn(8, 151_936)
    logits[:, -300:] = float("-inf")
    largest = torch.full((8,), 1 - 2**-24)
    ids = sample_ids(logits.softmax(dim=1), largest)
    assert (ids < 151_936 - 300).all()
    scaled = logits.softmax(dim=1) * 0.5  # the total is the sum's own, whatever it is
    assert (sample_ids(scaled, largest) < 151_936 - 300).all()


def test_a_row_of_nan_gives_an_id_of_the_vocabulary():
    # the run then ends with its own words about a gradient that is NaN, not with a wrong index
    weights = torch.tensor([[0.5, 0.5, 0.0], [torch.nan] * 3])
    ids = sample_ids(weights, torch.tensor([0.6, 0.6]))
    assert ids[0] == 1 and 0 <= ids[1] < 3


def test_frequencies_follow_the_probabilities():
    # 20,000 draws: a share's std is at most 0.0035
    probabilities = torch.tensor([[0.1, 0.6, 0.0, 0.3]])
    uniforms = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    ids = sample_ids(probabilities.expand(20_000, -1), uniforms)
    shares = torch.bincount(ids, minlength=4) / 20_000
    torch.testing.assert_close(shares, probabilities[0], atol=0.0175, rtol=0)


def test_sums_that_fall_by_a_rounding_are_read_from_the_left_and_banned_ids_left_out():
    # a GPU sums in blocks: id 3 is banned although its sum exceeds the threshold as the first,
    # and behind id 4, whose sum is right, stands one that fell
    cumulative = torch.tensor([[0.2, 0.2, 0.5, 0.5000001, 0.8, 0.7999999, 1.0]])
    probabilities = torch.tensor([[0.2, 0.0, 0.3, 0.0, 0.3, 0.1, 0.1]])

    def at(threshold: float) -> int:
        return _first_above(cumulative, torch.tensor([[threshold]]), probabilities).item()

    thresholds = (0.0, 0.19, 0.2, 0.49, 0.5, 0.79, 0.79999995, 0.8, 0.99, 1.0)
    assert [at(threshold) for threshold in thresholds] == [0, 0, 2, 2, 4, 4, 4, 6, 6, 0]


def test_both_searches_take_the_same_ids_row_by_row():
    generator = torch.Generator().manual_seed(2)
    probabilities = torch.rand(200, 50, generator=generator)
    probabilities[probabilities < 0.3] = 0.0
    uniforms = torch.rand(200, generator=generator)
    cumulative = probabilities.cumsum(dim=1)
    threshold = uniforms[:, None] * cumulative[:, -1:]
    ids = _first_above(cumulative, threshold, probabilities)
    assert torch.equal(ids, sample_ids(probabilities, uniforms))
    assert len(ids.unique()) > 30


@pytest.mark.parametrize(
    ("top_k", "expected"),
    [
        (1, [[0, 4, 0, 0], [8, 0, 0, 0]]),
        (2, [[0, 4, 0, 3], [8, 4, 0, 0]]),
        (3, [[0, 4, 2, 3], [8, 4, 2, 0]]),
        (4, [[1, 4, 2, 3], [8, 4, 2, 1]]),
        (9, [[1, 4, 2, 3], [8, 4, 2, 1]]),
    ],
)
def test_top_k_keeps_the_k_likeliest_of_each_row(top_k, expected):
    weights = torch.tensor([[1.0, 4.0, 2.0, 3.0], [8.0, 4.0, 2.0, 1.0]])
    assert keep_likeliest(weights, top_k=top_k, top_p=1.0).tolist() == expected


def test_ids_as_likely_as_the_last_of_the_k_stay_too():
    kept = keep_likeliest(torch.tensor([[2.0, 1.0, 2.0, 3.0]]), top_k=2, top_p=1.0)
    assert kept.tolist() == [[2.0, 0.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (0.01, [0.0, 0.5, 0.0, 0.0]),  # at least one
        (0.5, [0.0, 0.5, 0.0, 0.0]),  # reached exactly by the first
        (0.6, [0.0, 0.5, 0.0, 0.25]),  # the smallest set that reaches it
        (0.9, [0.125, 0.5, 0.125, 0.25]),
    ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p, expected):
    kept = keep_likeliest(torch.tensor([[0.125, 0.5, 0.125, 0.25]]), top_k=0, top_p=top_p)
    assert kept.tolist() == [pytest.approx(expected)]


def test_top_p_is_a_share_of_each_rows_own_total():
    # half of 16 is reached by 8; half of 4 by 1 + 1; half of 0.75 by 0.5
    weights = torch.tensor([[1.0, 4.0, 8.0, 3.0], [1.0, 1.0, 1.0, 1.0], [0.5, 0.0, 0.25, 0.0]])
    kept = keep_likeliest(weights, top_k=0, top_p=0.5)
    assert kept[0].tolist() == [0, 0, 8, 0]
    assert kept[1].sum() == 2
    assert kept[2].tolist() == [0.5, 0, 0, 0]


@pytest.mark.parametrize("limits", [{"top_k": 5}, {"top_k": 9, "top_p": 0.6}, {"top_k": 99}])
def test_the_ids_that_are_kept_are_those_of_the_probabilities_that_are(limits):
    limits = {"top_p": 1.0, **limits}
    weights = torch.rand(6, 20, generator=torch.Generator().manual_seed(0))
    weights[:, 3] = 0.0  # a banned id
    found = likeliest_ids(weights, **limits)
    assert found.shape == (6, limits["top_k"])
    for row, ids in zip(keep_likeliest(weights, **limits), found.tolist(), strict=True):
        kept = row.nonzero()[:, 0].tolist()
        assert ids == kept + [-1] * (limits["top_k"] - len(kept))


def test_of_equally_likely_ids_no_more_are_kept_than_there_is_room_for():
    (ids,) = likeliest_ids(torch.ones(1, 9), top_k=4, top_p=1.0).tolist()
    assert len(set(ids)) == 4 and min(ids) >= 0


def test_of_a_row_that_is_not_finite_the_first_id_is_kept():
    weights = torch.tensor([[math.nan] * 4, [1.0, 0.5, 0.0, 0.0]])
    assert likeliest_ids(weights, top_k=2, top_p=0.9).tolist() == [[0, -1], [0, 1]]


def test_off_means_untouched():
    probabilities = torch.rand(3, 7)
    assert keep_likeliest(probabilities, top_k=0, top_p=1.0) is probabilities


def test_each_row_uses_the_number_of_its_own_row_and_token():
    # two ids of one half each: a number under 0.5 gives id 0
    uniforms = torch.tensor([[0.1, 0.9], [0.9, 0.1], [0.9, 0.9]])
    choose = inverse_cdf(uniforms)
    weights = torch.ones(2, 2)
    assert choose(weights, torch.tensor([0, 2]), 0).tolist() == [0, 1]
    assert choose(weights, torch.tensor([1, 0]), 1).tolist() == [0, 1]


def test_only_the_likeliest_that_are_kept_are_chosen_from():
    # shares 0.5, 0.3, 0.2: a number of 0.75 stands for id 1, of two ids too (0.625), of one id 0
    weights, row = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([0])

    def chosen(number: float, **limits) -> int:
        return inverse_cdf(torch.tensor([[number]]), **limits)(weights, row, 0).item()

    assert (chosen(0.75), chosen(0.85)) == (1, 2)
    assert (chosen(0.75, top_k=2), chosen(0.85, top_k=2)) == (1, 1)
    assert (chosen(0.75, top_p=0.8), chosen(0.6, top_p=0.8)) == (1, 0)
    assert chosen(0.99, top_k=1) == chosen(0.99, top_p=0.5) == 0


def test_a_row_that_is_not_finite_gets_an_id_that_may_stand_there():
    # the last ids are banned ones, which no log-prob can be asked of; other rows do not notice
    probabilities = torch.tensor([[0.5, 0.5, 0.0], [math.nan] * 3, [math.inf, 1.0, 0.0]])
    assert sample_ids(probabilities, torch.tensor([0.7, 0.7, 0.7])).tolist() == [1, 0, 0]
