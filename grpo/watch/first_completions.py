"""A run's first completions as they were read and rewarded: what all of its numbers are made of."""

from string import ascii_uppercase
from typing import Any

from grpo.methods import SampledStep
from process.shown import shown_line

SHOWN = 3
_LONGEST = 300  # characters of a completion


def first_completions(sampled: SampledStep) -> str:
    """Return a few completions with what was read in them and what each reward said.

    They answer different questions where there are as many: a group's first ones differ least.
    """
    rollout = sampled.result.rollout
    texts, size = rollout.completions.texts, rollout.group_size
    rows = sorted(range(len(texts)), key=lambda row: (row % size, row // size))[:SHOWN]
    lines = [f"the first rollout, {len(rows)} of its {len(texts):,} completions (rollouts.jsonl)"]
    for row in rows:
        parsed, group = sampled.parsed[row], row // size
        example = rollout.batch.examples[group]
        rewards = sampled.result.rewards_per_fn[group, row % size].tolist()
        said = ", ".join(
            f"{name} {value:g}" for name, value in zip(sampled.reward_names, rewards, strict=True)
        )
        strict = _read(parsed.choice, example) + ("" if parsed.well_formed else ", not in its form")
        lines += [
            f"  {asked_and_said(texts[row], example)}",
            f"    read: {strict} (leniently: {_read(parsed.lenient_choice, example)}); {said}",
        ]
    return "\n".join(lines)


def asked_and_said(completion: str, example: Any) -> str:
    """Return one line of an example's name and key and of what was answered, cut when long."""
    key = _read(example.answer, example)
    return f"{shown_line(example.id)} (key: {key}): {_cut(completion) or 'nothing'}"


def _read(choice: str | None, example: Any) -> str:
    """Return an answer; of a choice letter and text, since yes and no are asked for in words."""
    if choice is None:
        return "nothing"
    if example.options:
        choice = f"{choice}, {example.options[ascii_uppercase.index(choice)]}"
    return _cut(choice)


def _cut(text: str) -> str:
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 60]} .. {text[-50:]}"
    return shown_line(text)
