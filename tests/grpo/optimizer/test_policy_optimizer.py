"""AdamW with float32 masters and its learning rate: by hand, against torch's own, and broken."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from grpo.optimizer import PolicyOptimizer
from grpo.settings.config import GRPOConfig
from models.policy import Policy


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)


def optimizer_of(policy: nn.Module, **settings) -> PolicyOptimizer:
    settings = {"learning_rate": 1e-2, "lr_schedule": "constant"} | settings
    optimizer = PolicyOptimizer(policy, GRPOConfig(**settings), total_steps=10)
    optimizer.start_step(0)
    return optimizer


def backward(policy: nn.Module, seed: int = 0) -> None:
    torch.manual_seed(seed)
    inputs = torch.randn(16, 4, dtype=next(policy.parameters()).dtype)
    policy(inputs).square().mean().backward()


def test_the_first_step_moves_every_weight_by_the_learning_rate():
    # Adam's first step is lr * g / (|g| + eps): the gradient's sign
    policy = network()
    before = policy[0].weight.detach().clone()
    optimizer = optimizer_of(policy)
    backward(policy)
    gradient = policy[0].weight.grad.clone()
    optimizer.step(max_grad_norm=1e9)
    expected = before - 1e-2 * gradient.sign()
    torch.testing.assert_close(policy[0].weight.detach(), expected, atol=1e-5, rtol=1e-4)


def test_float32_steps_equal_torchs_own():
    ours, theirs = network(), network()
    optimizer = optimizer_of(ours)
    reference = torch.optim.AdamW(theirs.parameters(), lr=1e-2, weight_decay=0.0)
    for seed in range(3):
        for policy in (ours, theirs):
            policy.zero_grad()
            backward(policy, seed)
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        optimizer.step(max_grad_norm=0.5)
        reference.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-7, rtol=1e-6)


def test_the_norm_is_that_before_clipping_and_clipping_bounds_the_gradient():
    policy = network()
    optimizer = optimizer_of(policy)
    backward(policy)
    norm = torch.cat([p.grad.flatten() for p in policy.parameters()]).norm().item()
    assert optimizer.step(max_grad_norm=norm / 10) == pytest.approx(norm, rel=1e-6)
    clipped = torch.cat([p.grad.flatten() for p in policy.parameters()]).norm().item()
    assert clipped == pytest.approx(norm / 10, rel=1e-4)


def test_steps_too_small_for_bfloat16_add_up_in_the_master():
    policy = network(torch.bfloat16)
    optimizer = optimizer_of(policy, learning_rate=1e-5)
    start = policy[0].weight.detach().float().clone()
    for _ in range(400):
        optimizer.zero_grad()
        backward(policy)
        optimizer.step(max_grad_norm=1e9)
    moved = (policy[0].weight.detach().float() - start).abs().mean().item()
    # 400 steps of 1e-5 are 4e-3; a bfloat16 weight near 0.3 alone would never leave its place
    assert 1e-3 < moved < 5e-3
    plain = network(torch.bfloat16)
    adamw = torch.optim.AdamW(plain.parameters(), lr=1e-5, weight_decay=0.0)
    for _ in range(400):
        plain.zero_grad()
        backward(plain)
        adamw.step()
    large = start.abs() > 0.25
    stuck = (plain[0].weight.detach().float() - start)[large]
    assert torch.equal(stuck, torch.zeros_like(stuck))


def test_low_precision_gradients_of_micro_batches_are_summed_in_float32():
    policy = network(torch.bfloat16)
    optimizer = optimizer_of(policy)
    optimizer.zero_grad()
    exact = [torch.zeros(p.shape) for p in policy.parameters()]
    for seed in range(20):
        other = network(torch.bfloat16)
        backward(other, seed)
        exact = [total + p.grad.float() for total, p in zip(exact, other.parameters(), strict=True)]
        backward(policy, seed)
        assert all(p.grad is None for p in policy.parameters())
    for master, total in zip(optimizer.masters.values(), exact, strict=True):
        torch.testing.assert_close(master.grad, total)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights():
    policy = network()
    optimizer = optimizer_of(policy)
    backward(policy)
    optimizer.step(max_grad_norm=1.0)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    moments = {name: value.clone() for name, value in optimizer.state_tensors().items()}
    optimizer.zero_grad()
    backward(policy)
    policy[2].bias.grad[0] = float("nan")
    assert not optimizer.has_skipped
    optimizer.start_step(1)
    assert math.isnan(optimizer.step(max_grad_norm=1.0))
    assert optimizer.has_skipped and not optimizer.has_moved
    assert all(torch.equal(policy.state_dict()[name], before[name]) for name in before)
    now = optimizer.state_tensors()
    assert all(torch.equal(now[name], moments[name]) for name in moments)


def test_only_matrices_decay():
    policy = network()
    with torch.no_grad():
        policy[0].bias.fill_(1.0)
    before = policy[0].weight.detach().clone()
    optimizer = optimizer_of(policy, weight_decay=0.1)
    for parameter in policy.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(max_grad_norm=1.0)
    torch.testing.assert_close(policy[0].weight.detach(), before * (1 - 1e-2 * 0.1))
    assert torch.equal(policy[0].bias.detach(), torch.ones(8))


def test_frozen_weights_are_left_out():
    policy = network()
    policy[0].requires_grad_(False)
    assert set(optimizer_of(policy).weights) == {"2.weight", "2.bias"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_going_on_from_the_saved_state_is_bitwise_the_same(dtype):
    def run(policy, optimizer, steps):
        for step in steps:
            optimizer.start_step(step)
            optimizer.zero_grad()
            backward(policy, step)
            optimizer.step(max_grad_norm=1.0)

    whole = network(dtype)
    run(whole, optimizer_of(whole, lr_schedule="linear"), range(6))

    first = network(dtype)
    optimizer = optimizer_of(first, lr_schedule="linear")
    run(first, optimizer, range(3))
    state = {name: value.clone() for name, value in optimizer.state_tensors().items()}

    second = network(dtype)
    second.load_state_dict(first.state_dict())
    resumed = optimizer_of(second, lr_schedule="linear")
    resumed.load_state_tensors(state)
    run(second, resumed, range(3, 6))
    assert all(
        torch.equal(mine, other)
        for mine, other in zip(second.parameters(), whole.parameters(), strict=True)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_that_taught_nothing_moves_on_by_its_momentum(dtype):
    # no backward ran: the same as one whose gradients are all zero, not as no step at all
    def two_steps(second_gradient):
        policy = network(dtype)
        optimizer = optimizer_of(policy)
        optimizer.start_step(0)
        backward(policy, 0)
        optimizer.step(max_grad_norm=1.0)
        first = [weight.detach().clone() for weight in optimizer.masters.values()]
        optimizer.zero_grad()
        optimizer.start_step(1)
        second_gradient(policy)
        assert optimizer.step(max_grad_norm=1.0) == 0
        return first, [weight.detach() for weight in optimizer.masters.values()]

    def zeros(policy):
        sum((weight * 0).sum() for weight in policy.parameters()).backward()

    first, skipped = two_steps(lambda _policy: None)
    _, expected = two_steps(zeros)
    assert all(map(torch.equal, skipped, expected))
    assert not any(map(torch.equal, skipped, first))


def test_the_state_of_another_model_is_refused():
    optimizer = optimizer_of(network())
    with pytest.raises(ValueError, match=r"does not fit the model \(for example 0.bias"):
        optimizer.load_state_tensors({"exp_avg/other": torch.zeros(1)})


def test_it_is_where_its_policy_is_run_though_shards_may_lie_in_cpu_memory(nano_policy):
    class Offloaded(Policy):
        device = torch.device("meta")

    elsewhere = copy.copy(nano_policy)
    elsewhere.__class__ = Offloaded
    assert optimizer_of(elsewhere).device == torch.device("meta")
    assert optimizer_of(network()).device == torch.device("cpu")


def test_a_weight_that_never_moved_goes_on_without_moments():
    policy = network()
    optimizer = optimizer_of(policy)
    backward(policy)
    optimizer.step(max_grad_norm=1.0)
    state = optimizer.state_tensors()
    left = {n: t for n, t in state.items() if not n.endswith("/0.bias")}
    left["master/0.bias"] = torch.ones(8)
    again = optimizer_of(network())
    again.load_state_tensors(left)
    assert again.masters["0.bias"] not in again.adamw.state
    assert torch.equal(again.masters["0.bias"], torch.ones(8))
    assert torch.equal(again.state_tensors()["exp_avg/2.bias"], state["exp_avg/2.bias"])


def test_moments_of_which_some_are_lost_are_refused_by_the_weights_name():
    policy = network()
    optimizer = optimizer_of(policy)
    backward(policy)
    optimizer.step(max_grad_norm=1.0)
    state = optimizer.state_tensors()
    del state["exp_avg_sq/0.bias"]
    with pytest.raises(ValueError, match=r"of 0.bias's moments only step, exp_avg is there"):
        optimizer_of(network()).load_state_tensors(state)


def test_a_norm_that_is_spread_over_processes_is_taken_whole(monkeypatch):
    """Each process would else clip by the norm of its own rows, and they would drift apart."""
    policy = network()
    optimizer = optimizer_of(policy)
    backward(policy)
    before = policy[0].weight.grad.clone()
    spread = SimpleNamespace(full_tensor=lambda: torch.tensor(8.0))
    monkeypatch.setattr(nn.utils, "get_total_norm", lambda _gradients: spread)
    assert optimizer.step(max_grad_norm=2.0) == 8.0
    torch.testing.assert_close(policy[0].weight.grad, before / 4)


def test_a_shards_master_is_saved_where_the_weights_are_saved_rounded(nano_policy, monkeypatch):
    optimizer = PolicyOptimizer(nano_policy, GRPOConfig(), total_steps=10)
    assert not any(name.startswith("master/") for name in optimizer.state_tensors())
    weights = list(optimizer.weights.values())
    numbers, alone = sum(weight.numel() for weight in weights), optimizer.state_bytes()
    for weight in weights:
        monkeypatch.setattr(weight, "device_mesh", "of two", raising=False)
    assert optimizer.state_bytes() == alone  # a float32 policy is saved in all its digits
    monkeypatch.setattr(type(nano_policy), "dtype", torch.bfloat16)
    assert optimizer.state_bytes() == alone + 4 * numbers
    saved = optimizer.state_tensors()
    assert {f"master/{name}" for name in optimizer.weights} <= saved.keys()


def test_a_master_that_is_lost_is_not_made_of_the_rounded_weight():
    optimizer = optimizer_of(network(torch.bfloat16))
    state = optimizer.state_tensors()
    del state["master/0.bias"]
    state["step/0.bias"] = torch.tensor(0.0)
    state |= {f"{name}/0.bias": torch.zeros(8) for name in ("exp_avg", "exp_avg_sq")}
    with pytest.raises(ValueError, match=r"the float32 master of 0\.bias is missing"):
        optimizer.load_state_tensors(state)
