"""One GRPO step against an independent slow one: every row alone, in plain formulas."""

from dataclasses import dataclass, replace

import pytest
import torch

import grpo.step
from grpo.clock import STEP_PARTS, StepClock
from grpo.likelihood import completion_scores
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch
from grpo.settings.config import GRPOConfig
from grpo.step import train_step
from models import load_policy
from rewards.bound import each
from tests.models.hidden import completion_hidden
from tests.models.nano import random_image

pytestmark = pytest.mark.model

CONFIG = GRPOConfig(
    group_size=4,
    prompts_per_step=3,
    max_completion_tokens=10,
    micro_batch_tokens=100_000,
    rewards=("vowels", "short"),
    reward_weights=(1.0, 0.5),
    learning_rate=1e-3,
    max_grad_norm=1e9,
)


@dataclass(frozen=True)
class Example:
    id: str
    bonus: float


def vowels(text: str, example: Example) -> float:
    return sum(letter in "aeiou" for letter in text) + example.bonus


def short(text: str, _example: Example) -> float:
    return 1.0 / (1 + len(text))


REWARDS = {"vowels": each(vowels), "short": each(short)}


class Recorder(PolicyOptimizer):
    """An optimizer that keeps each pass's gradient and moves no weight unless told to."""

    def __init__(self, policy, config, moves: bool = False) -> None:
        super().__init__(policy, config, total_steps=10)
        self.gradients: list[dict] = []
        self.moves = moves

    def step(self, max_grad_norm: float) -> float:
        self.gradients.append({n: p.grad.clone() for n, p in self.weights.items()})
        if self.moves:
            return super().step(max_grad_norm)
        return torch.cat([g.flatten() for g in self.gradients[-1].values()]).norm().item()


@pytest.fixture(scope="module")
def batch(nano_policy):
    texts = ["Which plane is this?", "What changed here?", "Name it."]
    sizes = [(56, 84), (90, 130), (56, 56)]
    prompts = tuple(
        nano_policy.processor.encode(text, [random_image(*size, seed=i)])
        for i, (text, size) in enumerate(zip(texts, sizes, strict=True))
    )
    return PromptBatch(prompts, tuple(Example(f"e{i}", i) for i in range(3)), (0, 1, 2), 0)


@pytest.fixture(scope="module")
def reference(nano_policy):
    """The policy with every weight a little elsewhere, so that the KL is not zero."""
    other = load_policy(nano_policy.path)
    other.processor = nano_policy.processor
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.01)
    return other.requires_grad_(False)


def run(policy, reference, batch, config, moves=False):
    optimizer = Recorder(policy, config, moves)
    clock = StepClock(policy.device)
    return train_step(policy, reference, optimizer, batch, REWARDS, config, clock), optimizer


def slow_logprobs(policy, prompt, ids: list[int], temperature: float):
    """Log-probs of one completion, alone, from full logits."""
    hidden = completion_hidden(policy, [prompt], [1], torch.tensor([ids]))[0]  # (C, D)
    logits = hidden @ policy.output_weight.T / temperature
    banned = torch.zeros(logits.shape[1], dtype=torch.bool)
    banned[list(policy.processor.banned_ids)] = True
    logprobs = logits.masked_fill(banned, float("-inf")).log_softmax(dim=1)
    return logprobs[torch.arange(len(ids)), ids]


def slow_gradient(policy, reference, result, config, reward_fns=REWARDS) -> tuple[float, dict]:
    """The loss and gradient of the first pass from the papers' formulas, row after row."""
    rollout, size = result.rollout, config.group_size
    lengths = rollout.completion_mask.sum(dim=1).tolist()
    truncated = rollout.completions.truncated.tolist()
    kept = [not (config.mask_truncated and cut) for cut in truncated]
    taught = sum(n for n, keep in zip(lengths, kept, strict=True) if keep)
    policy.zero_grad(set_to_none=True)
    total = 0.0
    for row, length in enumerate(lengths):
        prompt = rollout.batch.prompts[row // size]
        ids = rollout.completions.ids[row, :length].tolist()
        texts = rollout.texts[row // size]
        example = rollout.batch.examples[row // size]
        weights = config.weights_of_rewards
        rewards = [
            sum(
                w * fn([text], [example])[0]
                for w, fn in zip(weights, reward_fns.values(), strict=True)
            )
            for text in texts
        ]
        mean = sum(rewards) / size
        std = (sum((r - mean) ** 2 for r in rewards) / (size - 1)) ** 0.5
        advantage = (rewards[row % size] - mean) / (std + 1e-4)

        logprobs = slow_logprobs(policy, prompt, ids, config.temperature)
        per_token = -advantage * torch.exp(logprobs - logprobs.detach())
        if reference is not None:
            log_ratio = slow_logprobs(reference, prompt, ids, config.temperature) - logprobs
            per_token = per_token + config.beta * (log_ratio.exp() - log_ratio - 1)
        divisor = {
            "sequence": length * len(lengths),
            "token": taught,
            "constant": len(lengths) * config.max_completion_tokens,
        }[config.loss_normalization]
        loss = per_token.sum() / divisor * kept[row]
        loss.backward()
        total += loss.item()
    return total, {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}


def assert_equal_gradients(ours: dict, theirs: dict, bar: float = 3e-5) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        difference = (ours[name] - theirs[name]).norm() / theirs[name].norm().clamp(min=1e-6)
        assert difference <= bar, f"{name}: {difference:.2g}"


@pytest.mark.parametrize("normalization", ["sequence", "token", "constant"])
@pytest.mark.parametrize("mask_truncated", [False, True])
def test_loss_and_gradient_equal_the_slow_ones(
    nano_policy, reference, batch, normalization, mask_truncated
):
    config = replace(
        CONFIG, loss_normalization=normalization, mask_truncated=mask_truncated, beta=0.3
    )
    result, optimizer = run(nano_policy, reference, batch, config)
    assert 0 < result.metrics["truncated"] < 1
    loss, gradient = slow_gradient(nano_policy, reference, result, config)
    assert result.metrics["loss"] == pytest.approx(loss, abs=1e-5)
    assert_equal_gradients(optimizer.gradients[0], gradient)


@pytest.mark.parametrize("normalization", ["sequence", "token", "constant"])
def test_the_gradient_does_not_depend_on_the_split(nano_policy, reference, batch, normalization):
    config = replace(CONFIG, loss_normalization=normalization)
    _, whole = run(nano_policy, reference, batch, config)
    for budget in (11, 70, 150):  # one row, parts of a group, a group or two
        result, parts = run(
            nano_policy, reference, batch, replace(config, micro_batch_tokens=budget)
        )
        assert_equal_gradients(parts.gradients[0], whole.gradients[0])
        assert result.metrics["kl"] > 0


def test_without_a_reference_there_is_no_kl_term_and_none_is_reported(nano_policy, batch):
    config = replace(CONFIG, beta=0.0)
    result, optimizer = run(nano_policy, None, batch, config)
    assert result.metrics["kl"] is None
    _, gradient = slow_gradient(nano_policy, None, result, config)
    assert_equal_gradients(optimizer.gradients[0], gradient)


def test_each_completion_is_scored_with_its_own_example_and_weighted(nano_policy, batch):
    result, _ = run(nano_policy, None, batch, replace(CONFIG, beta=0.0))
    for group, texts in enumerate(result.rollout.texts):
        for index, text in enumerate(texts):
            scores = result.rewards_per_fn[group, index].tolist()
            example = batch.examples[group]
            assert scores == pytest.approx([vowels(text, example), short(text, example)])
    totals = result.rewards_per_fn @ torch.tensor([1.0, 0.5], dtype=torch.float64)
    assert result.metrics["reward"] == pytest.approx(totals.mean().item())
    assert result.metrics["reward/short"] == pytest.approx(
        result.rewards_per_fn[..., 1].mean().item()
    )


def test_rollout_and_update_agree_and_the_gap_is_of_the_first_pass(nano_policy, batch):
    config = replace(CONFIG, beta=0.0, num_iterations=3, learning_rate=1e-2)
    before = {n: p.clone() for n, p in nano_policy.state_dict().items()}
    try:
        result, optimizer = run(nano_policy, None, batch, config, moves=True)
    finally:
        nano_policy.load_state_dict(before)
    assert len(optimizer.gradients) == 3
    assert 0 < result.metrics["logprob_gap/max"] < 1e-4  # weights had moved in the later passes
    assert result.metrics["logprob_gap/mean"] <= result.metrics["logprob_gap/max"]
    assert result.metrics["clip_fraction"] > 0  # and so far that ratios left the range


def test_later_passes_are_measured_against_what_was_sampled(nano_policy, batch):
    # the second pass's gradient, by hand: ratios against the log-probs before the first update
    config = replace(CONFIG, beta=0.0, num_iterations=2, learning_rate=1e-4, epsilon_high=0.2)
    before = {n: p.clone() for n, p in nano_policy.state_dict().items()}
    try:
        result, optimizer = run(nano_policy, None, batch, config, moves=True)
        nano_policy.load_state_dict(before)
        rows = range(12)
        part = result.rollout.select(rows)
        from grpo.likelihood import completion_logprobs

        old = completion_logprobs(nano_policy, part, 1.0).detach()
        again = Recorder(nano_policy, config, moves=True)
        for name, parameter in nano_policy.named_parameters():
            parameter.grad = optimizer.gradients[0][name].clone()
        again.step(config.max_grad_norm)
        nano_policy.zero_grad(set_to_none=True)
        ratio = torch.exp(completion_logprobs(nano_policy, part, 1.0) - old)
        advantages = result.advantages.flatten()[:, None]
        surrogate = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
        mask = part.completion_mask
        (-(surrogate * mask).sum(dim=1) / mask.sum(dim=1)).mean().backward()
        gradient = {n: p.grad for n, p in nano_policy.named_parameters()}
        assert_equal_gradients(optimizer.gradients[1], gradient, bar=1e-4)
    finally:
        nano_policy.load_state_dict(before)


def test_a_group_that_agrees_is_not_run_and_the_gradient_is_that_of_all(
    nano_policy, batch, monkeypatch
):
    # the middle one's rewards agree; `slow_gradient` runs every row of every group
    def disagreeing(text, example):
        return 0.5 if example.id == "e1" else vowels(text, example) + 0.5 * short(text, example)

    run_prompts = []

    def watched(policy, part, *given, **options):
        run_prompts.extend(part.prompts)
        return completion_scores(policy, part, *given, **options)

    monkeypatch.setattr(grpo.step, "completion_scores", watched)
    config = replace(CONFIG, beta=0.0, rewards=("one",), reward_weights=(), num_iterations=2)
    optimizer, clock = Recorder(nano_policy, config), StepClock(nano_policy.device)
    result = train_step(
        nano_policy, None, optimizer, batch, {"one": each(disagreeing)}, config, clock
    )
    assert run_prompts == [batch.prompts[0], batch.prompts[2]] * 2
    assert result.metrics["zero_std_groups"] == pytest.approx(1 / 3)
    assert 0 <= result.metrics["padding"] < 1

    # its rows weigh nothing in the loss, but count in every denominator
    _, expected = slow_gradient(nano_policy, None, result, config, {"one": each(disagreeing)})
    for gradients in optimizer.gradients:
        assert_equal_gradients(gradients, expected)


def test_groups_that_agree_give_no_gradient(nano_policy, batch):
    optimizer = PolicyOptimizer(nano_policy, replace(CONFIG, learning_rate=1e-9), total_steps=10)
    config = replace(CONFIG, beta=0.0, rewards=("same",), reward_weights=())
    result = train_step(
        nano_policy,
        None,
        optimizer,
        batch,
        {"same": each(lambda _text, _example: 0.1)},
        config,
        StepClock(nano_policy.device),
    )
    assert result.metrics["zero_std_groups"] == 1 and result.metrics["grad_norm"] == 0
    assert not result.advantages.any()
    nothing_run = ("logprob_gap/mean", "logprob_gap/max", "padding")
    assert [result.metrics[name] for name in nothing_run] == [None] * 3
    assert result.metrics["loss"] == result.metrics["clip_fraction"] == 0
    assert all(not weight.grad.any() for weight in nano_policy.parameters())


def test_the_times_of_a_step_add_up(nano_policy, batch):
    clock = StepClock(nano_policy.device)
    optimizer = Recorder(nano_policy, CONFIG)
    clock.lap("data")
    train_step(nano_policy, None, optimizer, batch, REWARDS, replace(CONFIG, beta=0.0), clock)
    times = clock.metrics()
    assert set(times) == {f"time/{part}" for part in (*STEP_PARTS, "step")}
    parts = sum(seconds for name, seconds in times.items() if name != "time/step")
    assert parts == pytest.approx(times["time/step"], rel=1e-6)
    assert times["time/rollout"] > 0 and times["time/update"] > 0
