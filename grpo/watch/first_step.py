"""Silent failures made loud: warnings that say what was seen and what to try.

Each one answers a way in which runs of this kind have gone wrong unnoticed: greedy rollouts, a
start model without the format, everything truncated, training without the image.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from grpo.likelihood import completion_logprobs
from grpo.rollout import Part, Rollout, micro_batches
from grpo.settings.config import GRPOConfig
from grpo.watch.unrewarded import teachers
from models.policy import Policy


def first_rollout_warnings(
    metrics: Mapping[str, Any], well_formed: float | None, config: GRPOConfig
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
        yield (
            "no completion has the tags that the mode asks for and an answer of its question's"
            f" form: start from a model that knows them ({teachers(config)}), or choose another"
            " --mode"
        )
    if metrics["truncated"] > 0.5:
        otherwise = (
            "; --mask-truncated leaves them out of the loss"
            if config.mask_truncated
            else ", or use --mask-truncated"
        )
        yield (
            f"{metrics['truncated']:.0%} of the completions reach the limit of"
            f" {config.max_completion_tokens} tokens without an end: raise --max-completion-tokens"
            f"{otherwise}"
        )
    if (config.top_k or config.top_p < 1) and config.logprob_distribution == "full":
        yield (
            "top-k or top-p is on: tokens are sampled from another distribution than the one whose"
            " log-probabilities are trained; --logprob-distribution filtered trains theirs"
        )


def image_warnings(policy: Policy, rollout: Rollout, config: GRPOConfig) -> Iterator[str]:
    """Yield what shows that the image has no part in the sampled tokens' log-probabilities.

    Looks at the first group that has an image: the gradient of the sum of its log-probabilities
    with respect to the image's features, and their change when the pixels are blanked. Not at the
    loss: at the first step its KL has no gradient, and a group without spread has none at all. Nor
    at what top-k and top-p have kept: a token that was left alone has probability 1, image or not.
    """
    temperature, backend = config.temperature, config.logprob_backend
    part = _rows_with_an_image(rollout, config.micro_batch_tokens)
    if part is None:
        return
    part = replace(part, kept=None)
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
    """Return a part whose prompts have blank images: the same completions, and nothing to see."""
    return replace(part, prompts=tuple(prompt.blanked() for prompt in part.prompts))


def _rows_with_an_image(rollout: Rollout, token_budget: int) -> Part | None:
    """Return completions of the first prompt with an image, as many as one forward may hold."""
    for rows in micro_batches(rollout, token_budget):
        for group in sorted({row // rollout.group_size for row in rows}):
            if len(rollout.batch.prompt_of(group).image_grid_thw):
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
