"""A step under every variant of the objective: what a variant adds is the whole batch's."""

from dataclasses import replace

import pytest
import torch

import grpo.step
from grpo.clock import StepClock
from grpo.likelihood import completion_scores
from grpo.objectives.divergence import KL_ESTIMATORS
from grpo.objectives.factors import high_entropy_mask
from grpo.step import train_step
from rewards.bound import each
from tests.grpo.test_step import (
    CONFIG,
    REWARDS,
    Recorder,
    assert_equal_gradients,
    batch,
    reference,
    run,
)
from tests.models.hidden import completion_hidden

__all__ = ["batch", "reference"]  # fixtures
pytestmark = pytest.mark.model

# Two passes, and weights that move: ratios are 1 on the first pass alone.
TWICE = replace(CONFIG, num_iterations=2, beta=0.3, learning_rate=5e-3)
VARIANTS = [
    {"ratio_level": "sequence", "epsilon_low": 3e-4, "epsilon_high": 4e-4},
    {"ratio_cap": 1.5},
    {"surrogate": "cispo", "epsilon_high": 5.0},
    {"surrogate": "sapo"},
    *({"kl_estimator": name} for name in KL_ESTIMATORS if name != "k3"),
    {"advantage_scale": "batch"},
    {"advantage_baseline": "leave_one_out", "advantage_scale": "none"},
    {"reward_aggregation": "normalize_then_sum"},
    {"top_entropy_share": 0.3},
    {"sampler_correction_cap": 2.0},
    {"soft_overlong_tokens": 6},
    {"entropy_bonus": 0.5},
    {"logprob_distribution": "filtered", "top_k": 8, "top_p": 0.9},
    {"entropy_bonus": -0.5, "mask_truncated": True, "top_entropy_share": 0.5},
    {"mask_truncated": True, "top_entropy_share": 0.5, "sampler_correction_cap": 1.0},
]
any_variant = pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda variant: "-".join(f"{name}_{variant[name]}" for name in variant)
)


@pytest.fixture(autouse=True)
def same_weights(nano_policy):
    before = [parameter.detach().clone() for parameter in nano_policy.parameters()]
    yield
    with torch.no_grad():
        for parameter, value in zip(nano_policy.parameters(), before, strict=True):
            parameter.copy_(value)


def gradients(policy, reference, batch, config) -> list[dict]:
    """Return the gradients of both passes, the weights put back afterwards."""
    before = [parameter.detach().clone() for parameter in policy.parameters()]
    result, optimizer = run(policy, reference, batch, config, moves=True)
    with torch.no_grad():
        for parameter, value in zip(policy.parameters(), before, strict=True):
            parameter.copy_(value)
    return [*optimizer.gradients, result]


@any_variant
def test_no_cut_into_micro_batches_moves_the_gradient(nano_policy, reference, batch, variant):
    config = replace(TWICE, **variant)
    first, second, result = gradients(nano_policy, reference, batch, config)
    parts = replace(config, micro_batch_tokens=70)  # parts of groups
    first_of_parts, second_of_parts, result_of_parts = gradients(
        nano_policy, reference, batch, parts
    )
    assert_equal_gradients(first_of_parts, first)
    assert_equal_gradients(second_of_parts, second, bar=1e-3)  # Adam's step divides by roundings
    for name in ("loss", "kl", "clip_fraction"):
        assert result_of_parts.metrics[name] == pytest.approx(result.metrics[name], abs=1e-3)


@any_variant
def test_every_variant_changes_the_update(nano_policy, reference, batch, variant):
    plain = gradients(nano_policy, reference, batch, TWICE)
    varied = gradients(nano_policy, reference, batch, replace(TWICE, **variant))
    if variant == {"sampler_correction_cap": 2.0}:  # here sampler and update agree to rounding
        assert_equal_gradients(varied[0], plain[0])
        return
    differences = [
        (varied[i][name] - plain[i][name]).norm() / plain[i][name].norm().clamp(min=1e-6)
        for i in (0, 1)
        for name in plain[i]
    ]
    assert max(differences) > 1e-3


def test_where_sampler_and_update_agree_the_correction_is_one_and_its_metrics_say_so(
    nano_policy, reference, batch
):
    result, _ = run(nano_policy, reference, batch, replace(CONFIG, sampler_correction_cap=2.0))
    assert result.metrics["sampler_correction/mean"] == pytest.approx(1, abs=1e-4)
    assert result.metrics["sampler_correction/capped"] == 0
    plain, _ = run(nano_policy, reference, batch, CONFIG)
    assert not {name for name in plain.metrics if name.startswith("sampler_correction")}


@pytest.mark.parametrize(("claimed", "weight", "capped"), [(0.5, 0.6065, 0.0), (-1.0, 2.0, 1.0)])
def test_tokens_that_the_sampler_found_likelier_weigh_less(
    nano_policy, reference, batch, monkeypatch, claimed, weight, capped
):
    # a sampler that claims 0.5 nat more than the update finds: exp(-0.5); one that claims less: 2
    honest = grpo.step.sample_rollout

    def claiming(*arguments, **named):
        rollout = honest(*arguments, **named)
        completions = rollout.completions
        logprobs = (completions.logprobs + claimed) * completions.mask
        return replace(rollout, completions=replace(completions, logprobs=logprobs))

    _, plain = run(nano_policy, reference, batch, replace(CONFIG, beta=0.0))
    monkeypatch.setattr(grpo.step, "sample_rollout", claiming)
    config = replace(CONFIG, beta=0.0, sampler_correction_cap=2.0)
    result, corrected = run(nano_policy, reference, batch, config)
    assert result.metrics["sampler_correction/mean"] == pytest.approx(weight, abs=1e-3)
    assert result.metrics["sampler_correction/capped"] == pytest.approx(capped, abs=1e-4)
    expected = {name: value * weight for name, value in plain.gradients[0].items()}
    assert_equal_gradients(corrected.gradients[0], expected, bar=2e-3)


@pytest.mark.parametrize("beta", [0.0, 0.2])
def test_a_steps_own_beta_is_what_its_kl_weighs(nano_policy, reference, batch, beta):
    def step(config, objective=None):
        optimizer = Recorder(nano_policy, config)
        clock = StepClock(nano_policy.device)
        given = (nano_policy, reference, optimizer, batch, REWARDS, config, clock)
        return train_step(*given, objective=objective).metrics, optimizer.gradients[0]

    config = replace(CONFIG, beta=0.7)
    metrics, gradient = step(config, replace(config.objective, beta=beta))
    of_that_beta, expected = step(replace(config, beta=beta))
    assert_equal_gradients(gradient, expected)
    assert metrics["kl"] == of_that_beta["kl"] == step(config)[0]["kl"]
    assert metrics["loss"] == of_that_beta["loss"]


def test_where_beta_has_come_to_0_the_kl_is_that_of_all_rows_still(nano_policy, reference, batch):
    def step(objective):
        optimizer, clock = Recorder(nano_policy, config), StepClock(nano_policy.device)
        agreed = dict.fromkeys(REWARDS, lambda texts, _: [1.0] * len(texts))  # no group teaches
        given = (nano_policy, reference, optimizer, batch, agreed, config, clock)
        return train_step(*given, objective=objective).metrics

    config = replace(CONFIG, beta=0.7)
    assert 0 < step(None)["kl"] == step(replace(config.objective, beta=0.0))["kl"]


def test_only_the_least_sure_tokens_are_trained(nano_policy, reference, batch):
    config = replace(CONFIG, beta=0.0, top_entropy_share=0.25)
    result, _ = run(nano_policy, reference, batch, config)
    completions = result.rollout.completions
    chosen = high_entropy_mask(completions.entropies, completions.mask, 0.25)
    assert 0 < chosen.sum() <= 0.35 * completions.mask.sum()


@pytest.mark.parametrize("coefficient", [0.5, -0.5])
def test_the_entropy_bonus_is_that_of_the_tokens_that_the_loss_counts(
    nano_policy, batch, coefficient
):
    # rewards agree and there is no KL: the gradient is the bonus's alone
    settings = {"beta": 0.0, "mask_truncated": True, "top_entropy_share": 0.5}
    config = replace(CONFIG, **settings, entropy_bonus=coefficient, temperature=0.8)
    same = {"vowels": each(lambda *_: 1.0), "short": each(lambda *_: 0.0)}
    optimizer = Recorder(nano_policy, config)
    result = train_step(
        nano_policy, None, optimizer, batch, same, config, StepClock(nano_policy.device)
    )
    assert result.metrics["zero_std_groups"] == 1
    rollout, completions = result.rollout, result.rollout.completions
    assert 0 < result.metrics["truncated"] < 1
    trained = completions.mask & ~completions.truncated[:, None]
    counted = high_entropy_mask(completions.entropies, trained, 0.5)
    assert counted.sum() >= 0.5 * trained.sum()

    nano_policy.zero_grad(set_to_none=True)
    found = []
    for row, length in enumerate(completions.mask.sum(dim=1).tolist()):
        ids = completions.ids[row, :length].tolist()
        logprobs = slow_distribution(nano_policy, rollout.batch.prompts[row // 4], ids, 0.8)
        found.append(-(logprobs.exp() * logprobs).sum(dim=1)[counted[row, :length]])
    mean = torch.cat(found).mean()
    assert result.metrics["entropy_bonus"] == pytest.approx(coefficient * mean.item(), abs=1e-5)
    assert result.metrics["loss"] == pytest.approx(-coefficient * mean.item(), abs=1e-5)
    (-coefficient * mean).backward()
    expected = {n: p.grad for n, p in nano_policy.named_parameters() if p.grad is not None}
    assert_equal_gradients(optimizer.gradients[0], expected)


def test_filtered_the_step_is_that_of_the_distributions_that_were_sampled_from(
    nano_policy, reference, batch
):
    config = replace(
        CONFIG, beta=0.3, entropy_bonus=0.1, logprob_distribution="filtered", top_k=8, top_p=0.9
    )
    result, optimizer = run(nano_policy, reference, batch, config)
    assert result.metrics["logprob_gap/max"] < 1e-5
    completions, advantages = result.rollout.completions, result.advantages.flatten()
    rows, tokens = len(completions.mask), completions.mask.sum()

    def scores(policy, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probs and entropies (C,) of a row by the whole distribution, cut down to its ids."""
        length = int(completions.mask[row].sum())
        ids = completions.ids[row, :length]
        prompt = result.rollout.batch.prompts[row // 4]
        hidden = completion_hidden(policy, [prompt], [1], ids[None])[0]  # (C, D)
        found = []
        for state, id_, kept in zip(hidden, ids, completions.kept[row, :length], strict=True):
            kept = kept[kept >= 0]
            p = (policy.output_weight @ state).softmax(dim=0)[kept]
            p = p / p.sum()
            found.append((p[kept == id_].squeeze().log(), -(p * p.log()).sum()))
        logprobs, entropies = map(torch.stack, zip(*found, strict=True))
        return logprobs, entropies

    nano_policy.zero_grad(set_to_none=True)
    for row in range(rows):
        logprobs, entropies = scores(nano_policy, row)
        with torch.no_grad():
            ref_logprobs, _ = scores(reference, row)
        ratio, d = (logprobs - logprobs.detach()).exp(), ref_logprobs - logprobs
        per_token = 0.3 * (d.exp() - d - 1) - ratio * advantages[row]
        loss = per_token.mean() / rows - 0.1 * entropies.sum() / tokens
        loss.backward()
    expected = {n: p.grad for n, p in nano_policy.named_parameters() if p.grad is not None}
    assert_equal_gradients(optimizer.gradients[0], expected, bar=1e-4)


def slow_distribution(policy, prompt, ids: list[int], temperature: float) -> torch.Tensor:
    """Return (C, V'): log-probs over all ids that are not banned, of one completion alone."""
    hidden = completion_hidden(policy, [prompt], [1], torch.tensor([ids]))[0]  # (C, D)
    allowed = torch.ones(len(policy.output_weight), dtype=torch.bool)
    allowed[list(policy.processor.banned_ids)] = False
    return (hidden @ policy.output_weight[allowed].T / temperature).log_softmax(dim=1)


def test_without_a_bonus_no_entropy_is_computed(nano_policy, reference, batch, monkeypatch):
    asked = []

    def watched(*given, **options):
        asked.append(options["with_entropy"])
        return completion_scores(*given, **options)

    monkeypatch.setattr(grpo.step, "completion_scores", watched)
    result, _ = run(nano_policy, reference, batch, CONFIG)
    assert asked == [False] and "entropy_bonus" not in result.metrics
    run(nano_policy, reference, batch, replace(CONFIG, entropy_bonus=0.1))
    assert asked == [False, True]


def test_a_completion_that_is_cut_off_costs_a_reward_of_one_at_most(nano_policy, reference, batch):
    config = replace(CONFIG, soft_overlong_tokens=4, advantage_scale="none")
    plain, _ = run(nano_policy, reference, batch, replace(config, soft_overlong_tokens=0))
    result, _ = run(nano_policy, reference, batch, config)
    lengths = result.rollout.completion_mask.sum(dim=1).view(3, 4).double()
    penalties = ((lengths - 6) / 4).clamp(0, 1)  # of 10 tokens the last 4
    assert penalties.max() == 1 and penalties.min() < 1
    expected = plain.advantages - (penalties - penalties.mean(dim=1, keepdim=True))
    torch.testing.assert_close(result.advantages, expected.float())
    assert torch.equal(result.rewards, plain.rewards), "what is logged is what was earned"
    assert result.metrics["overlong/penalty"] == pytest.approx(penalties.mean().item())
    assert result.metrics["overlong/penalized"] == pytest.approx(
        (lengths > 6).float().mean().item()
    )
    assert not any(name.startswith("overlong") for name in plain.metrics)
