"""What of the objective's variants does not go together, or does nothing beside the others."""

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grpo.settings.config import GRPOConfig

# Kind of run -> the setting that makes it one, and why it does not use what others do.
WHY_UNUSED = {
    "sft": ("method=sft", "neither samples nor scores"),
    "exact": ("exact_no_think", "samples nothing"),
}
_MOST_KEPT = 256  # ids of a token that are stored, and whose embeddings are read, for each token


def variant_problems(config: "GRPOConfig") -> Iterator[str]:
    """Yield what of the objective's variants does not go together, or does nothing."""
    if config.logprob_distribution == "filtered":
        yield from _filtered_problems(config)
    yield from _exact_problems(config)
    yield from _unused_problems(config)
    usual = {item.name: item.default for item in fields(config)}
    if config.surrogate == "cispo" and config.epsilon_high < 1:
        yield (
            f"epsilon_high={config.epsilon_high} is, with surrogate=cispo, the largest weight of a"
            " token itself: give 1 or more, such as 5"
        )
    if config.surrogate != "clip" and config.ratio_cap:
        yield (
            f"ratio_cap={config.ratio_cap} is not used by surrogate={config.surrogate}: leave it"
            " away"
        )
    elif config.ratio_cap and config.ratio_cap <= 1 + config.epsilon_high:
        yield (
            f"ratio_cap={config.ratio_cap} must be above 1 + epsilon_high={config.epsilon_high}:"
            " below, the clip holds already"
        )
    if max(config.beta, config.beta_final) == 0:
        for name in ("kl_estimator", "reference_sync"):
            if getattr(config, name) != usual[name]:
                yield f"{name}={getattr(config, name)} is not used with beta=0: leave it away"
    yield from _beta_problems(config)
    if config.curriculum != "none" and config.dynamic_sampling:
        yield (
            f"curriculum={config.curriculum} does not go with"
            f" dynamic_sampling={config.dynamic_sampling}: both choose the next questions; give one"
        )
    if not 0 < config.top_entropy_share <= 1:
        yield (
            f"top_entropy_share={config.top_entropy_share} must lie in (0, 1]: 1 trains all tokens"
        )
    if 0 < config.sampler_correction_cap < 1:
        yield (
            f"sampler_correction_cap={config.sampler_correction_cap} must be 0 or at least 1: a"
            " token on which sampler and update agree weighs 1"
        )
    if config.soft_overlong_tokens > config.max_completion_tokens:
        yield (
            f"soft_overlong_tokens={config.soft_overlong_tokens} must not be above"
            f" max_completion_tokens={config.max_completion_tokens}, whose last tokens they are"
        )
    if config.reward_aggregation == "normalize_then_sum":
        for name in ("advantage_scale", "advantage_baseline"):
            if getattr(config, name) != usual[name]:
                yield (
                    f"{name}={getattr(config, name)} is not used by"
                    " reward_aggregation=normalize_then_sum, which has its own: leave it away"
                )


def _beta_problems(config: "GRPOConfig") -> Iterator[str]:
    if config.beta_schedule == "constant" and config.beta_final:
        yield (
            f"beta_final={config.beta_final} is not used by beta_schedule=constant: leave it away,"
            " or give linear or cosine"
        )
    if config.beta_schedule != "constant" and config.beta == config.beta_final:
        yield (
            f"beta_schedule={config.beta_schedule} goes from beta={config.beta} to"
            f" beta_final={config.beta_final}, which is the same: leave it away, or give two"
            " different weights"
        )


def _filtered_problems(config: "GRPOConfig") -> Iterator[str]:
    filtered = "logprob_distribution=filtered"
    if not config.top_k and config.top_p == 1:
        yield f"{filtered} is not used without top_k: give --top-k too, or leave it away"
    elif not config.top_k:
        yield (
            f"{filtered} needs a top_k beside top_p={config.top_p}: the ids that each token was"
            f" sampled from are kept, and top_p alone sets no limit to them; give --top-k"
            f" {_MOST_KEPT} or less too"
        )
    elif config.top_k > _MOST_KEPT:
        yield (
            f"{filtered} keeps the ids that each token was sampled from, up to {_MOST_KEPT}:"
            f" top_k={config.top_k} is too large"
        )
    elif config.top_k == 1:
        yield (
            f"{filtered} with top_k=1 leaves one token of probability 1 and nothing to learn: give"
            " 2 or more"
        )


def _exact_problems(config: "GRPOConfig") -> Iterator[str]:
    """Yield what does not go with --exact-no-think."""
    if config.kind == "exact" and config.mode != "no_think":
        yield (
            f"mode={config.mode} does not go with exact_no_think, which lists bare answers and no"
            " thoughts: use no_think, or leave exact_no_think away"
        )


def _unused_problems(config: "GRPOConfig") -> Iterator[str]:
    """Yield what a kind of run does not use, by the word of each field, and is not its default."""
    if config.kind not in WHY_UNUSED:
        return
    name_of_kind, why = WHY_UNUSED[config.kind]
    for item in fields(config):
        only, value = item.metadata["only"], getattr(config, item.name)
        if not only or config.kind in only or value == item.default:
            continue
        # both say what is so: there is no KL, and its reference would lie where the model does
        if (item.name, value) == ("beta", 0) or item.name == "reference_device":
            continue
        yield (
            f"{item.name}={value} is not used by {name_of_kind}, which {why}: leave one of the two"
            " away"
        )
