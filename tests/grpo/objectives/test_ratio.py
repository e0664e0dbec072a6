"""The ratio of a token and of a completion."""

import torch

from grpo.objectives.ratio import RATIO_LEVELS, sequence_log_ratio

MASK = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]])


def test_a_completions_log_ratio_is_the_mean_over_its_own_tokens():
    log_ratio = torch.tensor([[0.1, 0.2, 0.6], [0.5, -0.1, 9.0], [0.3, 0.0, 0.0], [0.0, 0.0, 0.0]])
    # (0.1 + 0.2 + 0.6) / 3, (0.5 - 0.1) / 2 without what lies after the end, 0.3 / 1, and no token
    expected = torch.tensor([0.3, 0.2, 0.3, 0.0])[:, None].expand(4, 3)
    torch.testing.assert_close(sequence_log_ratio(log_ratio, MASK), expected)


def test_of_one_token_all_are_the_same():
    log_ratio = torch.tensor([[0.4, 0.0, 0.0], [-0.2, 0.0, 0.0]])
    mask = torch.tensor([[1, 0, 0], [1, 0, 0]])
    for level in RATIO_LEVELS.values():
        assert torch.equal(level(log_ratio, mask)[:, 0], log_ratio[:, 0])


def test_each_token_gets_an_equal_share_of_a_completions_gradient():
    log_ratio = torch.tensor([[0.1, -0.4, 0.2], [0.3, 0.1, 0.0]], requires_grad=True)
    weights = torch.tensor([[1.0, 2.0, 3.0], [4.0, 0.0, 5.0]])
    (sequence_log_ratio(log_ratio, MASK[:2]) * weights).sum().backward()
    # 6 / 3 tokens and 9 / 2 tokens, nothing after the end
    assert log_ratio.grad.tolist() == [[2.0, 2.0, 2.0], [4.5, 4.5, 0.0]]


def test_gradients_are_those_of_finite_differences():
    log_ratio = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    for level in RATIO_LEVELS.values():
        assert torch.autograd.gradcheck(lambda x, level=level: level(x, MASK), log_ratio)
