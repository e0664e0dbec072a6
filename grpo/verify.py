"""`--verify-prefix`: the shared prefix against plain copies, on the user's own first batch.

Every completion is run once more as transformers would run it alone, with its own copy of prompt
and image, no cache and no packing. Log-probabilities and every parameter's gradient must agree.

Shapes: N prompts, G completions each, B = N * G rows, C completion tokens, V vocabulary.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from grpo.config import GRPOConfig
from grpo.forward import completion_logprobs
from grpo.rollout import Rollout, micro_batches, run_prompts_once
from models.policy import Policy
from models.prompt import EncodedPrompt

FLOAT32_BAR = 3e-5  # relative L2 per parameter; rounding in another order gives 1e-6 to 1e-5
# Of lower precision: how many times the error of plain copies against float32 ours may have.
NOISE_FACTOR = 1.5
# A gradient that is zero but for rounding has no relative error: none counts as smaller than this
# share of the whole gradient's norm.
LEAST_SHARE = 1e-5


@dataclass(frozen=True)
class PrefixReport:
    """How far the shared prefix is from plain copies."""

    copies: int  # B
    logprob_error: float  # nat, the largest
    worst: str  # parameter
    error: float  # of its gradient, relative L2
    limit: float  # for every parameter
    baseline: str  # what was compared with

    def __str__(self) -> str:
        return (
            f"shared prefix against {self.copies} plain copies through transformers"
            f" ({self.baseline}): log-probabilities within {self.logprob_error:.1e} nat, gradients"
            f" within {self.error:.1e} (worst: {self.worst}; limit {self.limit:.1e})"
        )


def verify_prefix(policy: Policy, rollout: Rollout, config: GRPOConfig) -> PrefixReport:
    """Compare on all rows of a rollout; weights, gradients and random state are left as they are.

    In float32 the two ways are compared with each other. In lower precision both are only near the
    truth, so both are compared with plain copies of the model in float32: ours may be no further
    away than plain copies are.

    Raises:
        ValueError: a gradient is further away than the limit; the report is in the message.
    """
    # some direction that no parameter's gradient is likely to vanish in; the same for all ways
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(rollout.completion_mask.shape, generator=generator)
    weights = (weights * rollout.completion_mask).to(policy.device)  # (B, C)
    ours = _shared(policy, rollout, config, weights)
    plain = _plain(policy, policy.model, rollout, config, weights)
    if policy.dtype == torch.float32:
        truth, limit, baseline = plain, FLOAT32_BAR, "float32"
    else:
        exact = copy.deepcopy(policy.model).float()
        truth = _plain(policy, exact, rollout, config, weights)
        _, floor = _worst(plain.gradients, truth.gradients)
        limit, baseline = NOISE_FACTOR * floor, f"float32; plain {policy.dtype} is {floor:.1e} away"
    worst, error = _worst(ours.gradients, truth.gradients)
    logprob_error = (ours.logprobs - truth.logprobs).abs().max().item()
    copies = len(rollout.completion_mask)
    report = PrefixReport(copies, logprob_error, worst, error, limit, baseline)
    if not error <= limit:
        raise ValueError(
            f"{report}: the shared prefix is wrong for this model or these prompts. Please report"
            " it with the model's name; nothing was trained"
        )
    return report


@dataclass(frozen=True)
class _Result:
    logprobs: Tensor  # (B, C), 0 where there is no token
    gradients: dict[str, Tensor]  # by parameter, float32 on the CPU


class _GradientSums:
    """Gradients of several losses, added up in float32 without touching any .grad."""

    def __init__(self, model: nn.Module) -> None:
        named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._names, self._parameters = list(named), list(named.values())
        self.sums: dict[str, Tensor] = {}

    def add(self, loss: Tensor) -> None:
        gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        for name, gradient in zip(self._names, gradients, strict=True):
            if gradient is not None:
                gradient = gradient.float().cpu()
                self.sums[name] = self.sums[name] + gradient if name in self.sums else gradient


def _shared(policy: Policy, rollout: Rollout, config: GRPOConfig, weights: Tensor) -> _Result:
    """Return what the update computes."""
    gradients = _GradientSums(policy.model)
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
        logprobs[cut] = found.detach()
        gradients.add((found * weights[cut]).sum())
    return _Result(logprobs, gradients.sums)


def _plain(
    policy: Policy, model: nn.Module, rollout: Rollout, config: GRPOConfig, weights: Tensor
) -> _Result:
    """Return the same from single rows through transformers' own forward."""
    gradients = _GradientSums(model)
    logprobs = torch.zeros_like(weights)
    banned = torch.tensor(policy.processor.banned_ids, dtype=torch.int64, device=policy.device)
    for row, mask in enumerate(rollout.completion_mask):
        prompt = rollout.batch.prompts[row // rollout.group_size]
        ids = rollout.completions.ids[row][mask]
        logits = _logits(model, prompt, ids, policy) / config.temperature  # (C, V)
        log_p = logits.index_fill(1, banned, -torch.inf).log_softmax(dim=1)
        found = log_p.gather(1, ids.to(log_p.device)[:, None])[:, 0]
        logprobs[row, : len(ids)] = found.detach()
        gradients.add((found * weights[row, : len(ids)]).sum())
    return _Result(logprobs, gradients.sums)


def _logits(model: nn.Module, prompt: EncodedPrompt, ids: Tensor, policy: Policy) -> Tensor:
    """Return float32 logits (C, V) that predict a completion, from one whole unpadded row."""
    device = policy.device
    row = torch.cat([prompt.input_ids, ids])[None]
    vision = {}
    if len(prompt.image_grid_thw):
        vision = {
            "pixel_values": prompt.pixel_values.to(device, next(model.parameters()).dtype),
            "image_grid_thw": prompt.image_grid_thw.to(device),
            "mm_token_type_ids": (row == policy.processor.image_token_id).int().to(device),
        }
    model.model.rope_deltas = None  # transformers' memory of its last call
    kept = len(ids) + 1
    output = model(input_ids=row.to(device), use_cache=False, logits_to_keep=kept, **vision)
    return output.logits[0, :-1].float()


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
        errors[name] = (mine - other).norm().item() / least if least else 0.0
    worst = max(errors, key=lambda name: errors[name])
    return worst, errors[worst]


def _norm(tensors: Iterable[Tensor]) -> float:
    return sum(tensor.norm().item() ** 2 for tensor in tensors) ** 0.5
