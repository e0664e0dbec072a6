"""What a completion costs that comes near the limit of its length."""

import pytest
import torch

from grpo.overlong import overlong_penalties


def test_the_penalty_rises_over_the_last_tokens_alone():
    lengths = torch.tensor([[1, 12, 13], [14, 15, 16]])
    expected = [[0.0, 0.0, 0.25], [0.5, 0.75, 1.0]]
    assert overlong_penalties(lengths, limit=16, tokens=4).tolist() == expected


def test_over_the_last_one_it_is_the_limit_alone_that_costs():
    assert overlong_penalties(torch.tensor([6, 7, 8, 9]), 8, tokens=1).tolist() == [0, 0, 1, 1]


def test_over_all_of_them_it_is_the_share_of_the_limit():
    penalties = overlong_penalties(torch.tensor([2, 4, 8]), limit=8, tokens=8)
    assert penalties.tolist() == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("length", [1, 8])
def test_without_such_tokens_nothing_costs_anything(length):
    assert overlong_penalties(torch.tensor([length]), limit=8, tokens=0).tolist() == [0.0]
