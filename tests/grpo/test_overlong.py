"""What a completion costs that comes near the limit of its length."""

import pytest
import torch

from grpo.overlong import overlong_metrics, overlong_penalties


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


def test_metrics_worked_by_hand_are_of_all_completions():
    # 13, 15 and 16 of 16 tokens cost 0.25, 0.75 and 1, and 12 nothing
    metrics = overlong_metrics(torch.tensor([12, 13, 15, 16]), limit=16, tokens=4)
    assert metrics == {"overlong/penalty": 0.5, "overlong/penalized": 0.75}
    assert overlong_metrics(torch.tensor([16]), limit=16, tokens=1) == {
        "overlong/penalty": 1.0,
        "overlong/penalized": 1.0,
    }
    assert overlong_metrics(torch.tensor([16]), limit=16, tokens=0) == {}
