"""Merging any split of the keys equals one softmax over all of them.

Shapes: B batch entries, H heads, L queries, S keys, d head size.
"""

import math

import pytest
import torch

from models.shared.lse import merge, merged_read

B, H, L, S, D = 2, 3, 4, 9, 5
PRECISIONS = [(torch.float64, 1e-13), (torch.float32, 2e-6)]


def scores_and_values(dtype, size):
    generator = torch.Generator().manual_seed(0)
    scores = size * torch.randn(B, H, L, S, generator=generator, dtype=torch.float64)
    values = torch.randn(B, H, S, D, generator=generator, dtype=torch.float64)
    return scores.to(dtype), values.to(dtype)


def attended(scores, values, keys=slice(None)):
    """What one softmax over these keys gives, (B, H, L, D), and its log-sum-exp, (B, H, L, 1)."""
    scores = scores[..., keys]
    return scores.softmax(dim=3) @ values[:, :, keys], scores.logsumexp(dim=3, keepdim=True)


def slowly_attended(scores, values):
    """The same in float64, key by key, by the definition."""
    read = torch.zeros(B, H, L, D, dtype=torch.float64)
    total = torch.zeros(B, H, L, 1, dtype=torch.float64)
    for key in range(S):
        weight = scores[..., key, None].double().exp()
        total += weight
        read += weight * values[:, :, key, None].double()
    return read / total, total.log()


@pytest.mark.parametrize("split", range(1, S))
@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])  # flat, usual and one-sided softmaxes
@pytest.mark.parametrize(("dtype", "bar"), PRECISIONS)
def test_merging_any_split_equals_one_softmax(split, size, dtype, bar):
    scores, values = scores_and_values(dtype, size)
    first = attended(scores, values, slice(0, split))
    second = attended(scores, values, slice(split, None))
    expected, expected_lse = slowly_attended(scores, values)
    read, lse = merge(*first, *second)
    assert read.dtype == lse.dtype == dtype
    torch.testing.assert_close(read.double(), expected, atol=bar, rtol=10 * bar)
    torch.testing.assert_close(lse.double(), expected_lse, atol=bar, rtol=10 * bar)
    alone = merged_read(*first, *second)
    torch.testing.assert_close(alone.double(), expected, atol=bar, rtol=10 * bar)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_three_parts_may_be_merged_in_any_order(order):
    scores, values = scores_and_values(torch.float64, 1.0)
    parts = [attended(scores, values, keys) for keys in (slice(0, 2), slice(2, 3), slice(3, S))]
    first, second, third = (parts[part] for part in order)
    read, lse = merge(*merge(*first, *second), *third)
    expected, expected_lse = slowly_attended(scores, values)
    torch.testing.assert_close(read, expected)
    torch.testing.assert_close(lse, expected_lse)


def test_two_keys_worked_by_hand():
    # scores log 1 and log 3: shares 1/4 and 3/4, so 8 / 4 + 3 * 4 / 4 = 5, and lse = log 4
    eight, four = torch.tensor([[8.0]]), torch.tensor([[4.0]])
    zero, log_3 = torch.tensor([[0.0]]), torch.tensor([[math.log(3.0)]])
    read, lse = merge(eight, zero, four, log_3)
    assert read.item() == pytest.approx(5.0) and lse.item() == pytest.approx(math.log(4.0))
    assert merged_read(eight, zero, four, log_3).item() == pytest.approx(5.0)


@pytest.mark.parametrize("gap", [0.0, 80.0, 1e4, torch.inf])
def test_far_apart_the_larger_part_is_all_and_nothing_is_nan(gap):
    scores, values = scores_and_values(torch.float32, 1.0)
    read, lse = attended(scores, values)
    other, lower = torch.full_like(read, 7.0), lse - gap
    for merged in (merge(read, lse, other, lower)[0], merged_read(read, lse, other, lower)):
        torch.testing.assert_close(merged, read if gap else (read + 7) / 2)
    for merged in (merge(other, lower, read, lse)[0], merged_read(other, lower, read, lse)):
        torch.testing.assert_close(merged, read if gap else (read + 7) / 2)


def test_half_precision_is_weighed_in_float32_and_rounded_once():
    scores, values = scores_and_values(torch.float32, 1.0)
    values = values.bfloat16().float()
    parts = [attended(scores, values, keys) for keys in (slice(0, 4), slice(4, S))]
    (read, lse), (other, other_lse) = [(read.bfloat16(), lse) for read, lse in parts]
    exact, _ = merge(read.float(), lse, other.float(), other_lse)
    for merged in (merge(read, lse, other, other_lse)[0], merged_read(read, lse, other, other_lse)):
        assert merged.dtype == torch.bfloat16
        assert (merged == exact.bfloat16()).float().mean() > 0.99  # a tie may fall otherwise
