"""What is raised: bounded ratios, weighed log-probabilities, a soft gate."""

import math

import pytest
import torch

from grpo.objectives.surrogate import SURROGATES, RatioLimits, cispo, clipped, soft_gate

LIMITS = dict.fromkeys(SURROGATES, RatioLimits(0.2, 0.28, 0.0)) | {
    "cispo": RatioLimits(0.2, 3.0, 0.0)
}
any_surrogate = pytest.mark.parametrize("name", SURROGATES)


def gradient_at(
    name: str, ratio: float, advantage: float, limits: RatioLimits | None = None
) -> float:
    """Return d surrogate / d logprob of one token whose ratio is so large."""
    logprobs = torch.tensor([[-1.5]], dtype=torch.float64, requires_grad=True)
    old = logprobs.detach() - math.log(ratio)
    surrogate, _ = SURROGATES[name](
        (logprobs - old).exp(),
        logprobs,
        torch.tensor([[advantage]], dtype=torch.float64),
        limits or LIMITS[name],
    )
    (gradient,) = torch.autograd.grad(surrogate.sum(), logprobs)
    return gradient.item()


@any_surrogate
@pytest.mark.parametrize("advantage", [-1.5, 0.5])
def test_where_no_weight_has_moved_all_have_the_policy_gradient(name, advantage):
    assert gradient_at(name, 1.0, advantage) == pytest.approx(advantage, abs=1e-12)


@pytest.mark.parametrize(
    ("ratio", "advantage", "gradient"),
    [
        (3.0, -1.0, -3.0),  # worse and likelier: pulled back as hard as its ratio says
        (3.0, -2.0, -6.0),
        (5.0, -1.0, 0.0),  # above the cap: no longer
        (5.0, 1.0, 0.0),  # the inner bound holds anyway
        (0.5, 1.0, 0.5),
        (0.5, -2.0, 0.0),  # worse and rarer already
    ],
)
def test_a_cap_bounds_what_a_negative_advantage_does(ratio, advantage, gradient):
    limits = RatioLimits(0.2, 0.2, 4.0)
    assert gradient_at("clip", ratio, advantage, limits) == pytest.approx(gradient)
    tensor, one = torch.tensor([[ratio]]), torch.tensor([[advantage]])
    value, is_bounded = clipped(tensor, tensor, one, limits)
    assert is_bounded.item() == (gradient == 0)
    assert value.item() == pytest.approx(min(min(ratio, 4) * advantage,
                                             min(max(ratio, 0.8), 1.2) * advantage))  # fmt: skip


@pytest.mark.parametrize(("ratio", "weight"), [(0.1, 0.1), (1.0, 1.0), (3.0, 3.0), (7.0, 3.0)])
@pytest.mark.parametrize("advantage", [-2.0, 0.5])
def test_cispo_weighs_every_token_and_silences_none(ratio, weight, advantage):
    assert gradient_at("cispo", ratio, advantage) == pytest.approx(weight * advantage)
    logprobs = torch.tensor([[-1.5]])
    value, is_bounded = cispo(
        torch.tensor([[ratio]]), logprobs, torch.tensor([[advantage]]), LIMITS["cispo"]
    )
    assert value.item() == pytest.approx(weight * advantage * -1.5)
    assert is_bounded.item() == (ratio > 3)


def test_the_gates_gradient_fades_on_both_sides_and_faster_where_the_advantage_is_negative():
    def share(ratio, advantage):  # of the gradient of the ratio itself
        return gradient_at("sapo", ratio, advantage) / (ratio * advantage)

    # d/dr 4/T sigmoid(T (r - 1)) = 4 s (1 - s), s = sigmoid(T (r - 1)); at r = 2, T = 1 and 1.05
    for advantage, temperature in ((1.0, 1.0), (-1.0, 1.05)):
        s = 1 / (1 + math.exp(-temperature))
        assert share(2.0, advantage) == pytest.approx(4 * s * (1 - s))
    assert 1 > share(1.5, 1.0) > share(3.0, 1.0) > share(9.0, 1.0) > 0
    assert share(0.5, 1.0) < 1
    assert share(3.0, -1.0) < share(3.0, 1.0)
    ones = torch.ones(2, 3)
    assert not soft_gate(ones * 9, ones, ones[:, :1], LIMITS["sapo"])[1].any()


def test_without_limits_the_clip_is_the_plain_ratio():
    ratio = torch.rand(3, 4, dtype=torch.float64) * 9
    advantages = torch.randn(3, 1, dtype=torch.float64)
    value, is_bounded = clipped(ratio, ratio, advantages, RatioLimits(1.0, math.inf, 0.0))
    assert torch.equal(value, ratio * advantages)
    assert not is_bounded.any()


@any_surrogate
def test_gradients_are_those_of_finite_differences(name):
    generator = torch.Generator().manual_seed(3)
    ratio = torch.rand(3, 4, dtype=torch.float64, generator=generator) + 0.5
    logprobs = -torch.rand(3, 4, dtype=torch.float64, generator=generator)
    advantages = torch.randn(3, 1, dtype=torch.float64, generator=generator)

    def value(ratio, logprobs):
        return SURROGATES[name](ratio, logprobs, advantages, LIMITS[name])[0]

    inputs = (ratio.requires_grad_(name != "cispo"), logprobs.requires_grad_())
    assert torch.autograd.gradcheck(value, inputs)
