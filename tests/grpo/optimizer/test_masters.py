"""Masters in CPU memory: the same bits as on the device, whatever dtype the weights have."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import grpo.optimizer.masters as masters
from grpo.optimizer import PolicyOptimizer
from grpo.optimizer.masters import Masters
from grpo.settings.config import GRPOConfig

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def network(dtype: torch.dtype, device: str = "cpu") -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(device, dtype)


def optimizer_of(policy: nn.Module, offload: bool) -> PolicyOptimizer:
    config = GRPOConfig(learning_rate=1e-2, weight_decay=0.1, offload_optimizer=offload)
    return PolicyOptimizer(policy, config, total_steps=10)


def take(policy: nn.Module, optimizer: PolicyOptimizer, steps: range) -> None:
    """Steps of two micro-batches each."""
    weight = next(policy.parameters())
    for step in steps:
        optimizer.start_step(step)
        optimizer.zero_grad()
        for part in range(2):
            generator = torch.Generator().manual_seed(10 * step + part)
            inputs = torch.randn(16, 4, generator=generator).to(weight.device, weight.dtype)
            policy(inputs).square().mean().backward()
        optimizer.step(max_grad_norm=0.5)


@DTYPES
def test_weights_moments_and_what_is_saved_are_the_same_bits(dtype):
    here, there = network(dtype), network(dtype)
    optimizers = optimizer_of(here, offload=False), optimizer_of(there, offload=True)
    for policy, optimizer in zip((here, there), optimizers, strict=True):
        take(policy, optimizer, range(3))
    assert all(map(torch.equal, here.parameters(), there.parameters()))
    mine, other = (optimizer.state_tensors() for optimizer in optimizers)
    assert mine.keys() == other.keys()  # a float32 weight's master is the weight: not saved twice
    assert all(torch.equal(mine[name], other[name]) for name in mine)


@DTYPES
@pytest.mark.parametrize("first", [True, False])
def test_a_run_goes_on_with_them_elsewhere(dtype, first):
    whole = network(dtype)
    take(whole, optimizer_of(whole, offload=False), range(4))
    begun, gone_on = network(dtype), network(dtype)
    optimizer = optimizer_of(begun, offload=first)
    take(begun, optimizer, range(2))
    state = {name: value.clone() for name, value in optimizer.state_tensors().items()}
    resumed = optimizer_of(gone_on, offload=not first)
    gone_on.load_state_dict(begun.state_dict())  # only now: a master follows its weight
    resumed.load_state_tensors(state)
    take(gone_on, resumed, range(2, 4))
    assert all(map(torch.equal, gone_on.parameters(), whole.parameters()))


@DTYPES
def test_no_gradient_stays_with_its_weight(dtype):
    policy = network(dtype)
    masters = Masters(dict(policy.named_parameters()), on_cpu=True)
    policy(torch.ones(1, 4, dtype=dtype)).sum().backward()
    assert all(weight.grad is None for weight in policy.parameters())
    for master in masters.by_name.values():
        assert master.grad.dtype == torch.float32 and master.device.type == "cpu"


def test_the_memory_of_a_sum_of_gradients_is_taken_once():
    policy = network(torch.bfloat16)
    masters = Masters(dict(policy.named_parameters()), on_cpu=True)
    seen = set()
    for number in (1.0, 2.0, 4.0):
        masters.drop_gradients()
        policy[2].bias.register_hook(lambda _, number=number: torch.full((2,), number).bfloat16())
        policy(torch.ones(1, 4).bfloat16()).sum().backward()
        gradient = masters.by_name["2.bias"].grad
        assert torch.equal(gradient, torch.full((2,), number))  # nothing is left of the last one's
        seen.add(gradient.data_ptr())
    assert len(seen) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@DTYPES
def test_on_a_gpu_they_leave_it_the_weights_alone(dtype):
    policy, twin = network(dtype, "cuda"), network(dtype, "cuda")
    optimizer, other = optimizer_of(policy, offload=True), optimizer_of(twin, offload=False)
    for one, its_optimizer in ((policy, optimizer), (twin, other)):
        take(one, its_optimizer, range(3))
    assert all(m.device.type == "cpu" for m in optimizer.masters.values())
    assert all(
        value.device.type == "cpu"
        for state in optimizer.adamw.state.values()
        for value in state.values()
    )
    assert all(weight.is_cuda and weight.grad is None for weight in policy.parameters())
    for mine, theirs in zip(policy.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(
            mine, theirs, atol=1e-5, rtol=1e-5 if dtype is torch.float32 else 1e-2
        )


@DTYPES
def test_what_crosses_in_pinned_memory_has_the_same_bits(dtype, monkeypatch):
    """Of a GPU's weights; plain memory stands in for it here."""
    here, there = network(dtype), network(dtype)
    take(here, optimizer_of(here, offload=True), range(3))
    asked = []

    def bridge(weights):
        asked.extend(weights)
        return torch.empty(1024, dtype=torch.uint8)

    monkeypatch.setattr(masters, "_bridge", bridge)
    optimizer = optimizer_of(there, offload=True)
    take(there, optimizer, range(3))
    assert len(asked) == len(list(there.parameters()))
    assert all(map(torch.equal, here.parameters(), there.parameters()))
    assert all(weight.grad is None for weight in there.parameters())


def test_the_bridge_is_as_large_as_the_largest_weight_on_a_gpu(monkeypatch):
    def empty(size, *, dtype, pin_memory):
        assert pin_memory and dtype == torch.uint8
        return size

    def weight(device: str, numbers: int) -> SimpleNamespace:
        return SimpleNamespace(
            device=torch.device(device), numel=lambda: numbers, element_size=lambda: 2
        )

    assert masters._bridge([weight("cpu", 9)]) is None
    monkeypatch.setattr(torch, "empty", empty)
    assert masters._bridge([weight("cpu", 9), weight("cuda", 5), weight("cuda", 3)]) == 10


def test_a_shard_is_its_own_master_wherever_it_lies():
    policy = network(torch.float32)
    weights = dict(policy.named_parameters())
    weights["0.bias"].device_mesh = "of two"
    by_name = Masters(weights, on_cpu=True).by_name
    assert by_name["0.bias"] is weights["0.bias"]
    assert by_name["2.bias"] is not weights["2.bias"]
