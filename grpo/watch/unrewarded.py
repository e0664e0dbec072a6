"""Why no completion of a run's first step was rewarded: three reasons that need different cures.

    format   the mode's tags are not there as they must be
    form     the tags are there, around an answer of another form than the key's: a word where the
             key is a letter, a letter where it is a text
    wrong    an answer of the key's form, and not the key

Advantages are differences within a group: where all rewards are equal a step teaches nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from grpo.methods import SampledStep
from grpo.settings.config import GRPOConfig
from grpo.watch.first_completions import asked_and_said
from rewards.modes import get_mode

ACCURACY = "accuracy"  # the registered reward of right answers
REASONS = ("format", "form", "wrong")
# Forms that an answer shows by itself; all else is a text.
_SHAPES = ("letter", "yes_no", "number")


def why_unrewarded(sampled: SampledStep, config: GRPOConfig) -> str | None:
    """Return why nothing was rewarded, what to do, and an example of each reason that occurred.

    None where a completion was right; of a run that does not reward by `accuracy`, where one earned
    anything.
    """
    names, result = sampled.reward_names, sampled.result
    right = ACCURACY in names and result.rewards_per_fn[..., names.index(ACCURACY)].max() > 0
    if right or (ACCURACY not in names and result.rewards.max() > 0):
        return None
    rollout = result.rollout
    reasons = rollout.for_each(lambda text, example: _reason(text, example, sampled, config.mode))
    found = [
        (reason, text, example)
        for group, texts, example in zip(
            reasons, rollout.texts, rollout.batch.examples, strict=True
        )
        for reason, text in zip(group, texts, strict=True)
    ]
    counts = {reason: sum(item[0] == reason for item in found) for reason in REASONS}
    what = "is right" if result.rewards.max() > 0 else "was rewarded"
    main = max(REASONS, key=counts.__getitem__)
    is_cut = bool(rollout.completions.truncated.float().mean() > 0.5)
    lines = [
        f"no completion of the first step {what}: {_said(counts, config.mode, names)};"
        f" {_cure(main, config, is_cut=is_cut)}"
    ]
    for reason in REASONS:
        first = next((item for item in found if item[0] == reason), None)
        if first is not None:
            lines.append(f"  {reason}: {asked_and_said(*first[1:])}")
    return "\n".join(lines)


def _reason(text: str, example: Any, sampled: SampledStep, mode: str) -> str:
    parse = sampled.parse
    if not parse(text, mode, (), "text").well_formed:
        return "format"
    own = parse(text, mode, example.options, example.form)
    # A form that reads anything, as a text's does, takes a letter for an answer, too.
    if not own.well_formed or _shape(own.choice, parse) != _shape(example.answer, parse):
        return "form"
    return "wrong"


def _shape(answer: str, parse: Any) -> str:
    written = f"<answer>{answer}</answer>"
    fitting = (form for form in _SHAPES if parse(written, "no_think", (), form).well_formed)
    return next(fitting, "text")


def _said(counts: Mapping[str, int], mode: str, names: Sequence[str]) -> str:
    tags = " then ".join(f"<{name}>..</{name}>" for name in get_mode(mode).tags)
    wrong = "are wrong" if ACCURACY in names else f"earn nothing by {', '.join(names)}"
    words = {
        "format": f"break the format ({tags}, once each and nothing else)",
        "form": "keep the tags around an answer of another form than the key's",
        "wrong": f"keep the format and {wrong}",
    }
    total = sum(counts.values())
    some = ", ".join(
        f"{'all' if count == total else f'{count:,}'} {words[reason]}"
        for reason, count in counts.items()
        if count
    )
    return f"of {total:,}, {some}"


def _cure(reason: str, config: GRPOConfig, *, is_cut: bool) -> str:
    if reason == "format" and is_cut:
        return (
            f"most are cut at {config.max_completion_tokens} tokens: raise --max-completion-tokens"
        )
    if reason == "format":
        return f"start from a model that knows the tags ({teachers(config)}), or another --mode"
    if reason == "form":
        return "look at keys and prompts with --check-data: does the key belong to its question?"
    easier = "start with easier questions (python -m evaluation.curate) or a larger --group-size"
    return easier + ", and look at the keys with --check-data"


def teachers(config: GRPOConfig) -> str:
    """Return what gives a start model that writes a mode's tags."""
    # sft teaches the bare answer, which is no_think's form and no other's
    return "an Instruct model" + ", a short --method sft run" * (config.mode == "no_think")
