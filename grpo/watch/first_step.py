"""Silent failures made loud: warnings that say what was seen and what to try.

Each one answers a way in which runs of this kind have gone wrong unnoticed: greedy rollouts, a
start model without the format, everything truncated, training without the image, a rollout and an
update that disagree.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from grpo.likelihood import completion_logprobs
from grpo.rollout import Part, Rollout, micro_batches
from grpo.settings.config import GRPOConfig
from grpo.watch.alarms import Finding, Repetition
from models.policy import Policy

GAP_MAX_FLOAT32 = 1e-3  # nat; decode and update differ by rounding alone, about 1e-6
# nat; rounding alone gave a mean of 0.04 on six layers when decoding still rounded its scores
GAP_MEAN_BFLOAT16 = 0.1
# However small the first steps' gap was: ratios that are 2 % off are far inside any clip range.
GAP_MEAN_FLOOR = 0.02
GAP_GROWTH = 3.0  # against the mean of the run's first steps
FIRST_STEPS = 5


def first_rollout_warnings(
    metrics: Mapping[str, float | None], well_formed: float | None, config: GRPOConfig
) -> Iterator[str]:
    """Yield what is wrong with the first step's completions.

    Args:
        metrics: the step's.
        well_formed: share of completions with the mode's tags, whether that is rewarded or not.
        config: the run's.
    """
    if metrics["unique_completions"] * config.group_size < 1.5:
        yield (
            "the completions of a group are nearly all the same, so there is nothing to compare:"
            " raise --temperature, and check that --top-k and --top-p are off"
        )
    if well_formed == 0:
        # sft teaches the bare answer, which is no_think's form and no other's
        taught = "an Instruct model" + ", a short --method sft run" * (config.mode == "no_think")
        yield (
            "no completion has the tags that the mode asks for and one letter: start from a"
            f" model that knows them ({taught}), or choose another --mode"
        )
    if metrics["truncated"] > 0.5:
        yield (
            f"{metrics['truncated']:.0%} of the completions reach the limit of"
            f" {config.max_completion_tokens} tokens without an end: raise --max-completion-tokens,"
            " or use --mask-truncated"
        )
    if config.top_k or config.top_p < 1:
        yield (
            "top-k or top-p is on: tokens are sampled from another distribution than the one whose"
            " log-probabilities are trained"
        )


def image_warnings(policy: Policy, rollout: Rollout, config: GRPOConfig) -> Iterator[str]:
    """Yield what shows that the image has no part in the sampled tokens' log-probabilities.

    Looks at the first group that has an image: the gradient of the sum of its log-probabilities
    with respect to the image's features, and their change when the pixels are blanked. Not at the
    loss: at the first step its KL has no gradient, and a group without spread has none at all.
    """
    temperature, backend = config.temperature, config.logprob_backend
    part = _rows_with_an_image(rollout, config.micro_batch_tokens)
    if part is None:
        return
    if not _image_gradient(policy, part, temperature, backend):
        yield (
            "the image's features get no gradient from the sampled tokens: the model is trained"
            " without its images; check that the checkpoint's chat template keeps the image and"
            " that its vision tower was trained with its text"
        )
    with torch.no_grad():
        seen = completion_logprobs(policy, part, temperature, backend=backend)
        blind = completion_logprobs(policy, blanked(part), temperature, backend=backend)
        moved = (blind - seen).abs().max()
    if not moved > 0:
        yield (
            "blanking the image changes no log-probability: the model does not see its images;"
            " check the images and the checkpoint's vision tower"
        )


def blanked(part: Part) -> Part:
    """Return the same completions to the same prompts with nothing to see."""
    return replace(part, prompts=tuple(prompt.blanked() for prompt in part.prompts))


def _rows_with_an_image(rollout: Rollout, token_budget: int) -> Part | None:
    """Return completions of the first prompt with an image, as many as one forward may hold."""
    for rows in micro_batches(rollout, token_budget):
        for group in sorted({row // rollout.group_size for row in rows}):
            if len(rollout.batch.prompts[group].image_grid_thw):
                return rollout.select([r for r in rows if r // rollout.group_size == group])
    return None


def _image_gradient(policy: Policy, part: Part, temperature: float, backend: str) -> bool:
    """Return whether any image feature gets a gradient; the parameters' own are left alone."""
    with torch.no_grad():
        features = policy.image_features(part.prompts)
    features = [feature.detach().requires_grad_() for feature in features]
    with torch.enable_grad():
        logprobs = completion_logprobs(
            policy, part, temperature, backend=backend, image_features=features
        )
        gradients = torch.autograd.grad(logprobs.sum(), features, allow_unused=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in gradients)


class GapAlarm:
    """Watches |logp(decode) - logp(update)| of the sampled tokens over a run.

    Speaks once, and again when the gap has become worse or comes back (grpo/watch/alarms.py). Its
    memory is metrics.jsonl: a resumed run replays it.
    """

    def __init__(self, dtype: torch.dtype, past: Iterable[Mapping[str, Any]] = ()) -> None:
        """Start, or go on behind the steps that a resumed run has done."""
        self._dtype = dtype
        self._first_means: list[float] = []
        self._repetition = Repetition()
        for metrics in past:
            self.look(metrics)

    def look(self, metrics: Mapping[str, Any]) -> str | None:
        """Return a warning if this step's gap is more than rounding and has not been told of."""
        mean, largest = metrics.get("logprob_gap/mean"), metrics.get("logprob_gap/max")
        if mean is None or largest is None:  # no row was run, it was not finite, or nothing sampled
            return None
        limit = self._limit()
        if len(self._first_means) < FIRST_STEPS:
            self._first_means.append(mean)
        if self._dtype == torch.float32:
            severity, way_out = largest / GAP_MAX_FLOAT32, "please report it"
        else:
            severity, way_out = mean / limit, "start anew with --dtype float32, and report it"
        text = (
            f"rollout and update disagree on the sampled tokens' log-probabilities: mean"
            f" {mean:.2g}, max {largest:.2g} nat. The policy is trained off what it sampled:"
            f" {way_out} with the model's name"
        )
        return self._repetition.pass_on(Finding(text, severity) if severity > 1 else None)

    def _limit(self) -> float:
        """Return the largest mean gap, in half precision, that is taken for rounding."""
        if len(self._first_means) < FIRST_STEPS:
            return GAP_MEAN_BFLOAT16
        usual = sum(self._first_means) / FIRST_STEPS
        return min(GAP_MEAN_BFLOAT16, max(GAP_MEAN_FLOOR, GAP_GROWTH * usual))
