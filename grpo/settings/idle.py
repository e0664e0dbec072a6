"""Flags that do nothing beside the others, where a run is what it would be without them."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from grpo.settings.config import GRPOConfig
from process.flags import flag_of
from process.ranks import place

# what makes of the ratio something else, and nothing of a ratio that is 1
_OF_RATIOS = ("epsilon_low", "epsilon_high", "ratio_cap", "ratio_level", "surrogate")
# which limits of the ratio a surrogate does not know
_LIMITS_UNUSED = {"cispo": ("epsilon_low",), "sapo": ("epsilon_low", "epsilon_high")}


def idle_warnings(
    given: Mapping[str, Any], chosen: Mapping[str, Any], config: GRPOConfig
) -> list[str]:
    """Return warnings for flags that do nothing beside the others.

    Args:
        given: the flags, by field name.
        chosen: those, and what a --config file says.
        config: all that they and other sources have made.
    """
    warnings = []
    names = [name for name in ("eval_every", "eval_limit", "eval_blank") if given.get(name)]
    if names and not config.eval_json:
        flags = ", ".join(flag_of(name) for name in names)
        warnings.append(
            f"{flags}: nothing is evaluated in this run, name held-out questions: --eval-json FILE"
        )
    if given.get("reference_device", "auto") != "auto" and not config.has_reference:
        warnings.append("--reference-device: without a KL term (--beta 0) no reference is loaded")
    elif given.get("reference_device", "auto") != "auto" and config.lora_rank:
        warnings.append(
            "--reference-device: with --lora-rank the reference is the policy itself, its adapters"
            " off, and nothing is loaded"
        )
    for name in _LIMITS_UNUSED.get(config.surrogate, ()):
        if name in chosen:
            warnings.append(f"{flag_of(name)}: --surrogate {config.surrogate} has no such limit")
    warnings += _without_effect(given, chosen, config)
    if given.get("reshard_after_forward") is not None and place().size == 1:
        warnings.append(
            "--reshard-after-forward: one process has its weights whole and gathers nothing;"
            " several are started by torchrun"
        )
    return warnings


def _without_effect(
    given: Mapping[str, Any], chosen: Mapping[str, Any], config: GRPOConfig
) -> Iterator[str]:
    """Yield warnings for flags of the objective that change nothing in a run of this length."""
    usual = {item.name: item.default for item in fields(GRPOConfig)}
    # A preset may have a paper's limits beside one pass; that pass as a flag takes its effect away.
    named = chosen if "num_iterations" in given else given
    moved = [name for name in _OF_RATIOS if named.get(name, usual[name]) != usual[name]]
    # Of a ratio of 1 the level still says which tokens have its gradient: that shows in the KL's
    # own ratio, and where tokens of one completion count differently. With cispo each has its own.
    chooses_tokens = config.top_entropy_share < 1 or config.sampler_correction_cap > 0
    of_completions, is_cispo = config.ratio_level == "sequence", config.surrogate == "cispo"
    if config.kl_estimator == "k3_corrected" or chooses_tokens:
        counts = {"ratio_level"}
        if of_completions and is_cispo:
            counts |= {"surrogate", "epsilon_high"}
        moved = [name for name in moved if name not in counts]
    if moved and config.num_iterations == 1:
        yield (
            f"{', '.join(map(flag_of, moved))}: in one pass over a batch every ratio is 1, so the"
            " gradient is what it would be without: --num-iterations 2"
        )
    if of_completions and not is_cispo and config.top_entropy_share < 1:
        yield (
            "--top-entropy-share: with --ratio-level sequence the gradient goes through a"
            " completion's mean, so all of its tokens are trained, and it counts by its share of"
            " unsure ones: --ratio-level token"
        )
    if 0 < config.max_steps <= config.reference_sync:
        yield (
            f"--reference-sync {config.reference_sync}: the run ends after {config.max_steps}"
            " steps, before the reference is the policy for the first time"
        )
    if config.reference_sync == config.num_iterations == 1 and config.kl_estimator != "k1":
        yield (
            "--reference-sync 1: in one pass over a batch the reference is the policy itself, so"
            " the KL is 0 and --beta holds nothing: a larger one, or --beta 0 alone"
        )
    if config.kl_estimator == "k1":
        yield (
            "--kl-estimator k1: as a loss it has a gradient of 0 on average, so it adds noise and"
            " holds the policy nowhere: k2 or k3"
        )
