"""`--verify-prefix`: sampler and update against transformers, on the user's own first batch.

Transformers' own model of the same checkpoint is loaded beside the policy, untouched by anything of
models/. It runs every completion alone, with its own copy of prompt and image. Then must agree

    the update's log-probabilities, and every parameter's gradient, vision tower included
    the sampler's log-probabilities of the tokens that it sampled, decoded one by one

Shapes: N prompts, G completions each, B = N * G rows, C completion tokens.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from grpo.likelihood import completion_logprobs, frozen_logprobs
from grpo.rollout import Rollout, micro_batches, run_prompts_once
from grpo.settings.config import GRPOConfig
from grpo.watch.gap import GAP_MAX_FLOAT32, GAP_MEAN_BFLOAT16
from grpo.watch.plain_copies import GradientSums, Scored, score_plain_copies
from grpo.watch.prefix_report import PrefixReport
from grpo.watch.second_model import place_for_a_copy, take_weights
from models.checkpoint.loading import load_plain_model
from models.lora.policy import LoraPolicy, put_adapters
from models.policy import Policy

FLOAT32_BAR = 3e-5  # relative L2 per parameter; rounding in another order gives 1e-6 to 1e-5
# Of lower precision: how many times the error of plain copies against float32 ours may have.
NOISE_FACTOR = 1.5
# A gradient that is zero but for rounding has no relative error: none counts as smaller than this
# share of the whole gradient's norm.
LEAST_SHARE = 1e-5


def verify_prefix(policy: Policy, rollout: Rollout, config: GRPOConfig) -> PrefixReport:
    """Compare on all rows of a rollout; weights, gradients and random state are left as they are.

    In float32 the two ways are compared with each other. In lower precision both are only near the
    truth, so both are compared with plain copies of the model in float32: ours may be no further
    away than plain copies are, whose G roundings of a prompt's gradient average out where ours
    rounds their sum once: times sqrt(G). Log-probabilities have the limits of the run's own alarm,
    GAP_MAX_FLOAT32 for each token in float32 and GAP_MEAN_BFLOAT16 in the mean in lower precision,
    or what plain copies are away from float32, where that is more.

    Where neither device nor CPU has the memory for a second model, sampler and update are compared
    with each other alone, and the report says so.

    Raises:
        ValueError: something is further away than its limit; the report is in the message.
    """
    # some direction that no parameter's gradient is likely to vanish in; the same for all ways
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(rollout.completion_mask.shape, generator=generator)
    weights = weights * rollout.completion_mask  # (B, C)
    place, why_not = place_for_a_copy(policy, rollout)
    if place is None:
        report = _without_transformers(policy, rollout, config, why_not)
    else:
        report = _with_transformers(policy, rollout, config, weights, place)
    report.check()
    return report


def _with_transformers(
    policy: Policy,
    rollout: Rollout,
    config: GRPOConfig,
    weights: Tensor,
    place: torch.device,
) -> PrefixReport:
    ours = _shared(policy, rollout, config, weights)
    model = load_plain_model(policy.path, dtype=policy.dtype, device=place)
    if isinstance(policy, LoraPolicy):
        put_adapters(model, policy)
    moved = take_weights(model, policy)

    def score(model: nn.Module) -> Scored:
        return score_plain_copies(
            model,
            rollout,
            weights,
            temperature=config.temperature,
            banned_ids=policy.processor.banned_ids,
            image_token_id=policy.processor.image_token_id,
        )

    plain = score(model)
    if policy.dtype == torch.float32:
        truth, limit, baseline = plain, FLOAT32_BAR, "float32"
        logprob_limit = GAP_MAX_FLOAT32
    else:
        truth = score(model.float())
        _, floor = _worst(plain.gradients, truth.gradients)
        limit = NOISE_FACTOR * rollout.group_size**0.5 * floor
        baseline = f"float32; plain {policy.dtype} is {floor:.1e} away"
        noise = _gap(plain.logprobs, truth.logprobs, rollout, policy.dtype)
        logprob_limit = max(GAP_MEAN_BFLOAT16, NOISE_FACTOR * noise)
    worst, error = _worst(ours.gradients, truth.gradients)
    if place != policy.device:
        baseline = f"{baseline}; on {place}, {policy.device} has no room"
    sampled = rollout.completions.logprobs
    return PrefixReport(
        copies=len(rollout.completion_mask),
        logprob_error=_gap(ours.logprobs, truth.logprobs, rollout, policy.dtype),
        sampler_error=_gap(sampled, truth.logprobs, rollout, policy.dtype),
        logprob_limit=logprob_limit,
        worst=worst,
        error=error,
        limit=limit,
        baseline=baseline,
        moved=moved,
        **_counts(rollout),
    )


def _without_transformers(
    policy: Policy, rollout: Rollout, config: GRPOConfig, why_not: str
) -> PrefixReport:
    exact = policy.dtype == torch.float32
    sampled, updates = rollout.completions.logprobs, frozen_logprobs(policy, rollout, config).cpu()
    return PrefixReport(
        copies=0,
        logprob_error=0.0,
        sampler_error=_gap(sampled, updates, rollout, policy.dtype),
        logprob_limit=GAP_MAX_FLOAT32 if exact else GAP_MEAN_BFLOAT16,
        worst="",
        error=0.0,
        limit=0.0,
        baseline=why_not,
        **_counts(rollout),
    )


def _shared(policy: Policy, rollout: Rollout, config: GRPOConfig, weights: Tensor) -> Scored:
    """Return what the update computes."""
    gradients = GradientSums(policy.model)
    logprobs = torch.zeros_like(weights)
    prompt_pass = run_prompts_once(policy, rollout.batch, config)
    for rows in micro_batches(rollout, config.micro_batch_tokens):
        part = rollout.select(rows)
        cut = (rows, slice(part.completion_ids.shape[1]))
        found = completion_logprobs(
            policy,
            part,
            config.temperature,
            backend=config.logprob_backend,
            prompt_pass=prompt_pass,
        )
        prompt_pass = None
        logprobs[cut] = found.detach().cpu()
        gradients.add((found * weights[cut].to(found.device)).sum())
    return Scored(logprobs, gradients.sums)


def _gap(ours: Tensor, truth: Tensor, rollout: Rollout, dtype: torch.dtype) -> float:
    """Return how far apart the tokens' log-probs are: at most in float32, else in the mean."""
    gaps = (ours - truth)[rollout.completion_mask].abs()
    return (gaps.max() if dtype == torch.float32 else gaps.mean()).item()


def _counts(rollout: Rollout) -> dict[str, int]:
    tokens = int(rollout.completion_mask.sum())
    return {"tokens": tokens, "decoded": tokens - len(rollout.completion_mask)}


def _worst(ours: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> tuple[str, float]:
    """Return the parameter whose gradient differs most, and by how much of its norm."""
    total = _norm(truth.values())
    errors = {}
    for name in ours.keys() | truth.keys():
        mine, other = ours.get(name), truth.get(name)
        if mine is None or other is None:  # one way does not reach it: only zero would be the same
            reached = any(g is not None and bool(g.any()) for g in (mine, other))
            errors[name] = float("inf") if reached else 0.0
            continue
        least = max(other.norm().item(), LEAST_SHARE * total)
        error = (mine - other).norm().item() / least if least else 0.0
        errors[name] = float("inf") if math.isnan(error) else error  # else max might pass it by
    worst = max(errors, key=lambda name: errors[name])
    return worst, errors[worst]


def _norm(tensors: Iterable[Tensor]) -> float:
    return sum(tensor.norm().item() ** 2 for tensor in tensors) ** 0.5
