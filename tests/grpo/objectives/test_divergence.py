"""Estimators of the KL, against sums over a whole vocabulary."""

import pytest
import torch

from grpo.objectives.divergence import KL_ESTIMATORS, k1, k2, k3, k3_corrected

V = 7


def two_distributions(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits of a policy, with gradient, and of a reference."""
    generator = torch.Generator().manual_seed(seed)
    policy, reference = torch.randn(2, V, dtype=torch.float64, generator=generator)
    return policy.requires_grad_(), reference


def expected(estimator, logits, reference, sampler=None):
    """Return the mean of an estimator, and of its gradient, over tokens drawn from the sampler.

    The sampler is the policy itself unless its logits are given.
    """
    logprobs, ref_logprobs = logits.log_softmax(0), reference.log_softmax(0)
    drawn = (logits if sampler is None else sampler).detach().log_softmax(0)
    ratio = (logprobs - drawn).exp()
    values = estimator(ref_logprobs - logprobs, ratio)
    mean = (drawn.exp() * values).sum()
    (gradient,) = torch.autograd.grad(mean, logits)
    return mean.detach(), gradient


def divergence(first, second):
    """Return KL(first, second) of two distributions given by their logits."""
    return (first.softmax(0) * (first.log_softmax(0) - second.log_softmax(0))).sum()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("estimator", [k1, k3, k3_corrected])
def test_the_unbiased_ones_have_the_kl_as_their_mean(seed, estimator):
    policy, reference = two_distributions(seed)
    mean, _ = expected(estimator, policy, reference)
    torch.testing.assert_close(mean, divergence(policy, reference).detach())


@pytest.mark.parametrize("seed", range(3))
def test_what_their_gradients_train(seed):
    policy, reference = two_distributions(seed)
    (to_reference,) = torch.autograd.grad(divergence(policy, reference), policy)
    (from_reference,) = torch.autograd.grad(divergence(reference, policy), policy)
    gradients = {name: expected(one, policy, reference)[1] for name, one in KL_ESTIMATORS.items()}
    torch.testing.assert_close(gradients["k1"], torch.zeros_like(policy))
    torch.testing.assert_close(gradients["k2"], to_reference)
    torch.testing.assert_close(gradients["k3"], from_reference)
    torch.testing.assert_close(gradients["k3_corrected"], to_reference)


@pytest.mark.parametrize("seed", range(3))
def test_only_the_corrected_one_is_right_about_an_older_policys_samples(seed):
    policy, reference = two_distributions(seed)
    older = policy.detach() + 0.5 * torch.randn(V, dtype=torch.float64)
    exact = divergence(policy, reference)
    (exact_gradient,) = torch.autograd.grad(exact, policy)
    mean, gradient = expected(k3_corrected, policy, reference, older)
    torch.testing.assert_close(mean, exact.detach())
    torch.testing.assert_close(gradient, exact_gradient)
    for one in (k1, k2, k3):
        mean, gradient = expected(one, policy, reference, older)
        assert not torch.allclose(gradient, exact_gradient, atol=1e-3)


def test_near_the_reference_they_agree_to_second_order():
    d = torch.tensor([1e-4, -1e-4], dtype=torch.float64)
    one = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(k3(d, one), k2(d, one), rtol=1e-4, atol=0)
    assert k1(d, one).tolist() == [-1e-4, 1e-4]


@pytest.mark.parametrize("name", KL_ESTIMATORS)
def test_gradients_are_those_of_finite_differences(name):
    d = torch.randn(5, dtype=torch.float64, requires_grad=True)
    ratio = (torch.rand(5, dtype=torch.float64) + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(KL_ESTIMATORS[name], (d, ratio))
