"""One GRPO step on one CUDA device: bfloat16 weights, float32 masters, the same numbers."""

from dataclasses import replace

import pytest
import torch

from grpo.clock import StepClock
from grpo.likelihood import completion_logprobs
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch, sample_rollout
from grpo.settings.config import GRPOConfig
from grpo.settings.toml_file import read_toml
from grpo.step import train_step
from models import load_policy
from models.checkpoint.offload import offload_layers
from rewards.bound import each
from tests.models.nano import random_image
from tests.places import ROOT

pytestmark = [
    pytest.mark.model,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
CONFIG = GRPOConfig(
    group_size=4,
    max_completion_tokens=16,
    learning_rate=1e-4,
    rewards=("ascii",),
    loss_normalization="token",
)


# Its step has other tests; those of curricula and dynamic sampling are the trainer's.
NOT_ONE_STEP = ("exact_no_think", "curriculum", "dapo")
PRESETS = sorted(
    path.stem
    for path in (ROOT / "configs/objectives").glob("*.toml")
    if path.stem not in NOT_ONE_STEP
)


def ascii_count(text: str, _example: object) -> float:
    return sum(character < "\x80" for character in text)


def batch_of(policy) -> PromptBatch:
    prompts = tuple(
        policy.processor.encode("Which plane is this?" * (i + 1), [random_image(*size, seed=i)])
        for i, size in enumerate([(56, 84), (168, 90), (56, 56)])
    )
    return PromptBatch(prompts, ("a", "b", "c"), (0, 1, 2), 0)


def step(policy, reference, config):
    optimizer = PolicyOptimizer(policy, config, total_steps=10)
    optimizer.start_step(0)
    clock = StepClock(policy.device)
    rewards = {"ascii": each(ascii_count)}
    result = train_step(policy, reference, optimizer, batch_of(policy), rewards, config, clock)
    return result, optimizer


def test_a_bfloat16_step_moves_the_masters_and_its_gap_is_rounding(nano_policy):
    policy = load_policy(nano_policy.path, device="cuda")
    reference = load_policy(nano_policy.path, device="cuda").requires_grad_(False)
    assert policy.dtype == torch.bfloat16
    before = {name: weight.detach().float().clone() for name, weight in policy.named_parameters()}
    result, optimizer = step(policy, reference, CONFIG)
    assert result.metrics["logprob_gap/mean"] < 0.1
    assert result.metrics["kl"] == pytest.approx(0, abs=1e-3)
    assert result.metrics["grad_norm"] > 0
    for name, master in optimizer.masters.items():
        assert master.dtype == torch.float32
        torch.testing.assert_close(optimizer.weights[name].detach(), master.detach().bfloat16())
    moved = [(optimizer.masters[name].detach() - before[name]).abs().max() for name in before]
    assert max(moved) > 5e-5


def test_float32_logprobs_on_cuda_equal_those_on_the_cpu(nano_policy):
    rollout = sample_rollout(nano_policy, batch_of(nano_policy), CONFIG.sampling)
    part = rollout.select(range(12))
    policy = load_policy(nano_policy.path, dtype="float32", device="cuda")
    policy.processor = nano_policy.processor
    on_cpu = completion_logprobs(nano_policy, part, 1.0)
    on_cuda = completion_logprobs(policy, part, 1.0)
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        rollout.completions.logprobs, on_cuda.detach().cpu(), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_a_step_of_every_objective_is_that_of_the_cpu(nano_policy, preset):
    settings, _ = read_toml(f"objectives/{preset}")
    one_pass = {"num_iterations": 1, "max_grad_norm": 1e9}  # gradients are as they came
    config = replace(CONFIG, **settings | one_pass)

    def taken(device: str):
        policy = load_policy(nano_policy.path, dtype="float32", device=device)
        reference = load_policy(nano_policy.path, dtype="float32", device=device)
        with torch.no_grad():  # so that there is a KL
            for weight in reference.parameters():
                weight.mul_(1.02)
        policy.processor = nano_policy.processor
        result, optimizer = step(policy, reference.requires_grad_(False), config)
        return result, {name: w.grad.cpu() for name, w in optimizer.weights.items()}

    (on_cpu, expected), (on_cuda, gradients) = taken("cpu"), taken("cuda")
    assert torch.equal(on_cuda.rollout.completions.ids, on_cpu.rollout.completions.ids)
    for name, value in on_cpu.metrics.items():
        assert on_cuda.metrics[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    for name, gradient in expected.items():
        error = (gradients[name] - gradient).norm() / gradient.norm().clamp(min=1e-6)
        assert error < 1e-3, name


def test_checkpointing_and_the_split_change_no_gradient_on_cuda(nano_policy):
    def gradients(**settings):
        config = replace(CONFIG, beta=0.0, **settings)
        checkpointing = bool(config.gradient_checkpointing)
        policy = load_policy(
            nano_policy.path,
            dtype="float32",
            device="cuda",
            gradient_checkpointing=checkpointing,
        )
        policy.processor = nano_policy.processor
        result, optimizer = step(policy, None, config)
        return result, {name: p.grad.clone() for name, p in optimizer.weights.items()}

    whole, plain = gradients()
    for settings in ({"gradient_checkpointing": True}, {"micro_batch_tokens": 150}):
        result, other = gradients(**settings)
        assert torch.equal(result.rollout.completions.ids, whole.rollout.completions.ids)
        for name in plain:
            error = (other[name] - plain[name]).norm() / plain[name].norm().clamp(min=1e-6)
            assert error < 1e-4, (settings, name)


def test_an_offloaded_reference_gives_the_same_logprobs(nano_policy):
    policy = load_policy(nano_policy.path, device="cuda")
    rollout = sample_rollout(policy, batch_of(policy), CONFIG.sampling)
    part = rollout.select(range(12))
    with torch.no_grad():
        expected = completion_logprobs(policy, part, 1.0)
        lent = offload_layers(load_policy(nano_policy.path, dtype="bfloat16"), "cuda")
        torch.testing.assert_close(completion_logprobs(lent, part, 1.0), expected)
