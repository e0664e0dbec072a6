"""The entropy bonus: the mean entropy of the tokens that are trained, however the loss is."""

import math

import pytest
import torch

from grpo.logprobs import token_logprobs
from grpo.loss import policy_loss, token_weights
from grpo.objectives.entropy import mean_entropy

LIMITS = {"epsilon_low": 0.2, "epsilon_high": 0.2, "beta": 0.0}
MASK = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]])


def batch(normalization: str = "sequence") -> dict:
    """Return 3 rows of random log-probs and entropies; NaN stands in the entropies' padding."""
    generator = torch.Generator().manual_seed(0)
    logprobs = -torch.rand(3, 3, generator=generator)
    entropies = 2 * torch.rand(3, 3, generator=generator)
    return {
        "logprobs": logprobs.requires_grad_(),
        "old_logprobs": logprobs.detach(),
        "ref_logprobs": logprobs.detach(),
        "advantages": torch.tensor([1.0, -0.5, 0.25]),
        "loss_weights": token_weights(MASK, normalization, 3),
        "metric_weights": token_weights(MASK, "token", 3),
        "entropies": entropies.where(MASK.bool(), math.nan).requires_grad_(),
        "entropy_weights": token_weights(MASK, "token", 3),
    }


def test_worked_example():
    # two tokens over two ids: one even, ln 2 nats; one 3 to 1, ln 4 - 3/4 ln 3; their mean
    hidden = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]], requires_grad=True)
    _, entropies = token_logprobs(hidden, torch.eye(2), torch.tensor([0, 0]), with_entropy=True)
    unsure, surer = math.log(2), math.log(4) - 0.75 * math.log(3)
    mean = mean_entropy(entropies[None], torch.full((1, 2), 0.5))
    assert mean.item() == pytest.approx((unsure + surer) / 2, rel=1e-6)
    # d H / d z_j = -p_j (ln p_j + H): nothing where all are even; else towards the rarer id
    mean.backward()
    towards = -0.25 * (math.log(0.25) + surer) / 2
    expected = torch.tensor([[0.0, 0.0], [-towards, towards]])
    torch.testing.assert_close(hidden.grad, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("coefficient", [0.3, -0.3])
@pytest.mark.parametrize("normalization", ["sequence", "token", "constant"])
def test_the_loss_falls_by_the_coefficient_times_the_mean_whatever_its_normalization(
    normalization, coefficient
):
    values = batch(normalization)
    plain, plain_metrics = policy_loss(**values, **LIMITS)
    loss, metrics = policy_loss(**values, **LIMITS, entropy_bonus=coefficient)
    tokens = [values["entropies"][row, column].item() for row, column in MASK.nonzero().tolist()]
    expected = coefficient * sum(tokens) / 6
    assert (plain - loss).item() == pytest.approx(expected, abs=1e-6)
    assert metrics["entropy_bonus"].item() == pytest.approx(expected, abs=1e-6)
    assert metrics["loss"].item() == loss.item()
    assert "entropy_bonus" not in plain_metrics
    (gradient,) = torch.autograd.grad(loss, values["entropies"])
    torch.testing.assert_close(gradient, -coefficient * MASK / 6)


def test_micro_batches_add_up_to_the_batch():
    values = batch()
    whole, metrics = policy_loss(**values, **LIMITS, entropy_bonus=0.3)
    parts = [
        policy_loss(**{n: v[rows] for n, v in values.items()}, **LIMITS, entropy_bonus=0.3)
        for rows in (slice(0, 1), slice(1, 3))
    ]
    torch.testing.assert_close(sum(loss for loss, _ in parts), whole)
    together = sum(part["entropy_bonus"] for _, part in parts)
    torch.testing.assert_close(together, metrics["entropy_bonus"])


def test_its_gradient_through_the_log_prob_op_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(4, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(7, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    weights = torch.tensor([[0.25, 0.5, 0.0, 0.25]], dtype=torch.float64)

    def bonus(hidden, weight):
        targets = torch.tensor([0, 2, 1, 6])
        _, entropies = token_logprobs(hidden, weight, targets, with_entropy=True, banned_ids=[3])
        return mean_entropy(entropies[None], weights)

    assert torch.autograd.gradcheck(bonus, (hidden, weight))


@pytest.mark.parametrize("missing", ["entropies", "entropy_weights"])
def test_a_bonus_without_entropies_is_refused(missing):
    values = batch() | {missing: None}
    with pytest.raises(ValueError, match="needs entropies and entropy_weights: pass both"):
        policy_loss(**values, **LIMITS, entropy_bonus=0.1)


@pytest.mark.parametrize("wrong", ["entropies", "entropy_weights"])
def test_of_another_shape_they_are_refused(wrong):
    values = batch()
    values[wrong] = values[wrong][:, :2]
    with pytest.raises(ValueError, match=rf"{wrong} must have the shape of logprobs \(3, 3\)"):
        policy_loss(**values, **LIMITS, entropy_bonus=0.1)
