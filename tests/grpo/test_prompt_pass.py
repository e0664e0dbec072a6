"""Prompts run once for rollout and update alike: the same tokens, the same gradients, less work.

Shapes: N prompts, M rows, C completion tokens.
"""

from dataclasses import replace

import pytest
import torch

from grpo.clock import StepClock
from grpo.likelihood import completion_logprobs
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch, run_prompts_once, sample_rollout
from grpo.settings.config import GRPOConfig
from grpo.step import train_step
from models import load_policy
from rewards.bound import each
from tests.models.nano import FAMILIES, random_image, write_checkpoint

pytestmark = pytest.mark.model

CONFIG = GRPOConfig(
    prompts_per_step=3,
    group_size=3,
    max_completion_tokens=8,
    micro_batch_tokens=10_000,
    learning_rate=1e-3,
    rewards=("letters",),
)
GRADIENT_BAR = 3e-5  # relative L2 per parameter, fp32


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request, tmp_path_factory):
    return load_policy(write_checkpoint(tmp_path_factory.mktemp("nano") / "m", request.param))


@pytest.fixture(scope="module")
def batch(policy):
    encode = policy.processor.encode
    prompts = (
        encode("Which plane is this?", [random_image(56, 84)]),
        encode("What changed?", [random_image(90, 130, seed=1), random_image(56, 56, seed=2)]),
        encode("Name it."),
    )
    return PromptBatch(prompts, ("a", "b", "c"), (0, 1, 2), 0)


def letters(text: str, _example: str) -> float:
    return float(sum(map(ord, text)))  # hardly ever the same twice


def gradients(policy, logprobs):
    weights = torch.randn(logprobs.shape, generator=torch.Generator().manual_seed(3))
    policy.zero_grad(set_to_none=True)
    (logprobs * weights).sum().backward()
    return {name: parameter.grad for name, parameter in policy.named_parameters()}


def assert_equal_gradients(ours, theirs):
    for name, expected in theirs.items():
        error = (ours[name] - expected).norm() / expected.norm()
        assert expected.norm() > 0 and error < GRADIENT_BAR, (name, error)


@pytest.mark.parametrize("lengths", [[8] * 9, [8, 1, 3, 1, 1, 1, 5, 2, 8], [1] * 9])
def test_going_on_from_a_pass_gives_the_gradients_of_running_the_prompts_anew(
    policy, batch, lengths
):
    rollout = sample_rollout(policy, batch, CONFIG.sampling)
    part = rollout.select(range(9))
    length = max(lengths)
    ids = part.completion_ids[:, :length]
    mask = torch.arange(length) < torch.tensor(lengths)[:, None]
    part = replace(part, completion_ids=ids, completion_mask=mask)
    anew = completion_logprobs(policy, part, 1.0)
    expected = gradients(policy, anew)
    # the completions see the prompts' keys and values only, so a rollout in between is no matter
    prompt_pass = policy.run_prompts(batch.prompts)
    sample_rollout(policy, batch, CONFIG.sampling, prompt_pass)
    going_on = completion_logprobs(policy, part, 1.0, prompt_pass=prompt_pass)
    torch.testing.assert_close(going_on, anew, atol=1e-5, rtol=0)
    assert_equal_gradients(gradients(policy, going_on), expected)


def test_a_rollout_from_a_pass_samples_the_same(policy, batch):
    alone = sample_rollout(policy, batch, CONFIG.sampling).completions
    shared = sample_rollout(
        policy, batch, CONFIG.sampling, policy.run_prompts(batch.prompts)
    ).completions
    assert torch.equal(shared.ids, alone.ids)
    torch.testing.assert_close(shared.logprobs, alone.logprobs, atol=1e-6, rtol=0)
    assert not shared.logprobs.requires_grad


def test_a_pass_over_other_prompts_is_left_alone(policy, batch):
    rollout = sample_rollout(policy, batch, CONFIG.sampling)
    part = rollout.select(range(3))  # the first group
    others = policy.run_prompts(batch.prompts[1:])
    expected = completion_logprobs(policy, part, 1.0)
    assert torch.equal(completion_logprobs(policy, part, 1.0, prompt_pass=others), expected)


def steps(policy, batch, config, monkeypatch):
    """Return a step's metrics, its gradients and how often the images were encoded."""
    encoded = []
    computed = policy.image_features
    monkeypatch.setattr(policy, "image_features", lambda p: encoded.append(len(p)) or computed(p))
    optimizer = PolicyOptimizer(policy, config, total_steps=10)
    optimizer.start_step(0)
    found = {}

    def keep_gradients(_max_grad_norm):
        found.update(
            {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}
        )
        return 1.0

    monkeypatch.setattr(optimizer, "step", keep_gradients)
    clock = StepClock(policy.device)
    result = train_step(policy, None, optimizer, batch, {"letters": each(letters)}, config, clock)
    monkeypatch.undo()
    return result, found, encoded


def test_a_step_encodes_images_once_and_teaches_the_same(policy, batch, monkeypatch):
    config = replace(CONFIG, beta=0.0)
    result, gradients, encoded = steps(policy, batch, config, monkeypatch)
    assert encoded == [3]
    split = replace(config, micro_batch_tokens=100)  # does not hold all prompts at once
    other, expected, encoded = steps(policy, batch, split, monkeypatch)
    assert len(encoded) > 2
    assert torch.equal(result.rollout.completions.ids, other.rollout.completions.ids)
    assert result.advantages.any(dim=1).all()  # no group was left out
    assert_equal_gradients(gradients, expected)


def test_later_passes_see_the_weights_that_moved(policy, batch, monkeypatch):
    _, _, encoded = steps(policy, batch, replace(CONFIG, beta=0.0, num_iterations=3), monkeypatch)
    assert encoded == [3] * 4  # rollout and first pass together; old log-probs; two more passes


def test_nothing_is_kept_where_the_update_could_not_use_it(policy, batch):
    # 3 prompts and 9 completions of 8 tokens, to the token
    tokens = sum(prompt.num_tokens for prompt in batch.prompts) + 9 * 8
    config = replace(CONFIG, micro_batch_tokens=tokens)
    assert run_prompts_once(policy, batch, config).last_hidden.requires_grad
    assert run_prompts_once(policy, batch, replace(config, micro_batch_tokens=tokens - 1)) is None
    policy.gradient_checkpointing = True
    try:
        assert run_prompts_once(policy, batch, config) is None
        prompt_pass = policy.run_prompts(batch.prompts)
        part = sample_rollout(policy, batch, config.sampling, prompt_pass).select(range(9))
        with pytest.raises(RuntimeError, match="keeps no pass over prompts"):
            completion_logprobs(policy, part, 1.0, prompt_pass=prompt_pass)
    finally:
        policy.gradient_checkpointing = False
