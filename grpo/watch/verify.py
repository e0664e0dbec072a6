"""`--verify-prefix`: sampler and update against transformers, on the user's own first batch.

Transformers' own model of the same checkpoint is loaded beside the policy, untouched by anything of
models/. It runs every completion alone, with its own copy of prompt and image. Then must agree

    the update's log-probabilities, and every parameter's gradient, vision tower included
    the sampler's log-probabilities of the tokens that it sampled, decoded one by one

Shapes: N prompts, G completions each, B = N * G rows, C completion tokens.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grpo.likelihood import completion_logprobs, frozen_logprobs
from grpo.rollout import Rollout, micro_batches, run_prompts_once
from grpo.settings.config import GRPOConfig
from grpo.settings.hardware import free_memory
from grpo.watch.first_step import GAP_MAX_FLOAT32, GAP_MEAN_BFLOAT16
from grpo.watch.plain_copies import GradientSums, Scored, score_plain_copies
from models.checkpoint.loading import load_plain_model
from models.checkpoint.memory import plain_copy_bytes
from models.policy import Policy

FLOAT32_BAR = 3e-5  # relative L2 per parameter; rounding in another order gives 1e-6 to 1e-5
# Of lower precision: how many times the error of plain copies against float32 ours may have.
NOISE_FACTOR = 1.5
# A gradient that is zero but for rounding has no relative error: none counts as smaller than this
# share of the whole gradient's norm.
LEAST_SHARE = 1e-5


@dataclass(frozen=True)
class PrefixReport:
    """How far sampler and update are from plain copies through transformers."""

    copies: int  # B; 0 where there was no memory for transformers' model
    logprob_error: float  # nat, the update's: the largest in float32, in lower precision the mean
    sampler_error: float  # the same of the sampler's
    logprob_limit: float  # for both
    worst: str  # parameter
    error: float  # of its gradient, relative L2
    limit: float  # for every parameter
    baseline: str  # what was compared with
    tokens: int  # that were sampled
    decoded: int  # of them from the cache, behind each row's first
    moved: int = 0  # parameters that were not the checkpoint's

    def __str__(self) -> str:
        sampler = (
            f"sampler within {self.sampler_error:.1e} nat ({self.tokens} tokens,"
            f" {self.decoded} of them decoded from the cache; limit {self.logprob_limit:.1e})"
        )
        if not self.copies:
            return f"NOT compared with transformers: {self.baseline}. Sampler and update: {sampler}"
        moved = f", {self.moved} parameters copied from the policy" if self.moved else ""
        return (
            f"shared prefix against {self.copies} plain copies through transformers, loaded anew"
            f" ({self.baseline}{moved}): log-probabilities within {self.logprob_error:.1e} nat"
            f" (limit {self.logprob_limit:.1e}), gradients within {self.error:.1e} (worst:"
            f" {self.worst}; limit {self.limit:.1e}); {sampler}"
        )


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
    place, why_not = _place_for_a_copy(policy, rollout)
    if place is None:
        report = _without_transformers(policy, rollout, config, why_not)
    else:
        report = _with_transformers(policy, rollout, config, weights, place)
    _judge(report)
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
    moved = _take_weights(model, policy)
    scoring = {
        "temperature": config.temperature,
        "banned_ids": policy.processor.banned_ids,
        "image_token_id": policy.processor.image_token_id,
    }
    plain = score_plain_copies(model, rollout, weights, **scoring)
    if policy.dtype == torch.float32:
        truth, limit, baseline = plain, FLOAT32_BAR, "float32"
        logprob_limit = GAP_MAX_FLOAT32
    else:
        truth = score_plain_copies(model.float(), rollout, weights, **scoring)
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


def _judge(report: PrefixReport) -> None:
    """Raise for what is beyond its limit; NaN is beyond every one."""
    if not (report.error <= report.limit and report.logprob_error <= report.logprob_limit):
        raise ValueError(
            f"{report}: the shared prefix is wrong for this model or these prompts, or what it runs"
            " (vision tower, attention) is. Please report it with the model's name; nothing was"
            " trained"
        )
    if not report.sampler_error <= report.logprob_limit:
        raise ValueError(
            f"{report}: the sampler is wrong for this model or these prompts: it sampled from"
            " another distribution than the one that would be trained. Please report it with the"
            " model's name; nothing was trained"
        )


def _place_for_a_copy(policy: Policy, rollout: Rollout) -> tuple[torch.device | None, str]:
    """Return where transformers' model has room beside the policy, or None and why nowhere."""
    lengths = rollout.completion_mask.sum(dim=1).tolist()
    prompts = [prompt for prompt in rollout.batch.prompts for _ in range(rollout.group_size)]
    needed = plain_copy_bytes(
        policy.model,
        text_tokens=max(p.num_tokens + n for p, n in zip(prompts, lengths, strict=True)),
        logits=max(lengths) + 1,
        patches=max(len(prompt.pixel_values) for prompt in prompts),
    )
    parameters = sum(weight.numel() for weight in policy.model.parameters())
    kept = 4 * parameters * (2 if policy.dtype == torch.float32 else 3)  # gradients, of each way
    host, cpu = free_memory(torch.device("cpu")), torch.device("cpu")
    free = {place: free_memory(place) for place in (policy.device, cpu)}
    for place in free:
        on_host = kept + (needed if place == cpu else 0)
        if needed <= free[place] and on_host <= host:
            return place, ""
    there = " and ".join(f"{place} has {left / 1e9:.1f} GB free" for place, left in free.items())
    return None, (
        f"its model needs {needed / 1e9:.1f} GB beside the policy, and gradients {kept / 1e9:.1f}"
        f" GB on the CPU; {there}"
    )


@torch.no_grad()
def _take_weights(model: nn.Module, policy: Policy) -> int:
    """Give the model the policy's weights and frozen parts; return how many it had otherwise."""
    moved, theirs = 0, dict(policy.model.named_parameters())
    other = theirs.keys() ^ dict(model.named_parameters()).keys()
    if other:
        raise ValueError(
            f"the policy and transformers' model of {policy.path} have not the same parameters"
            f" ({', '.join(sorted(other)[:3])}): the checkpoint was loaded wrongly. Please report"
            " it with the model's name; nothing was trained"
        )
    for name, weight in model.named_parameters():
        ours = theirs[name].detach().to(weight.device)
        weight.requires_grad_(theirs[name].requires_grad)
        if not torch.equal(weight, ours):
            weight.copy_(ours)
            moved += 1
    return moved


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
            present = other if mine is None else mine
            errors[name] = float("inf") if present.any() else 0.0
            continue
        least = max(other.norm().item(), LEAST_SHARE * total)
        error = (mine - other).norm().item() / least if least else 0.0
        errors[name] = float("inf") if math.isnan(error) else error  # else max might pass it by
    worst = max(errors, key=lambda name: errors[name])
    return worst, errors[worst]


def _norm(tensors: Iterable[Tensor]) -> float:
    return sum(tensor.norm().item() ** 2 for tensor in tensors) ** 0.5
