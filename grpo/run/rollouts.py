"""The rows of rollouts.jsonl: every completion with its question, rewards and advantage."""

from collections.abc import Iterator, Sequence
from typing import Any

from grpo.step import StepResult


def rollout_rows(
    result: StepResult,
    reward_names: Sequence[str],
    choices: Sequence[str | None],
) -> Iterator[dict[str, Any]]:
    """Yield one row per completion, prompt-major, without the step's number.

    Args:
        result: of a step over N prompts with G completions each.
        reward_names: R, in the order of ``result.rewards_per_fn``'s last axis.
        choices: N * G, the letter each completion commits to, or None.
    """
    rollout = result.rollout
    lengths = rollout.completion_mask.sum(dim=1).tolist()
    for row, text in enumerate(rollout.completions.texts):
        group, index = divmod(row, rollout.group_size)
        example = rollout.batch.examples[group]
        rewards = result.rewards_per_fn[group, index].tolist()
        yield {
            "id": example.id,
            "index": index,
            "images": list(example.image_names),
            "modality": example.modality,
            "question_type": example.question_type,
            "question": example.question,
            "options": list(example.options),
            "answer": example.answer,
            **key_of(example),
            "completion": text,
            "choice": choices[row],
            "rewards": dict(zip(reward_names, rewards, strict=True)),
            "reward": result.rewards[group, index].item(),
            "advantage": result.advantages[group, index].item(),
            "completion_tokens": lengths[row],
            "truncated": bool(rollout.completions.truncated[row]),
        }


def key_of(example: Any) -> dict[str, Any]:
    """Return what else decides what is right, where it is not a letter."""
    if example.form == "letter":
        return {}
    key = {
        "form": example.form,
        "accepted": list(example.accepted),
        "absolute_tolerance": example.absolute_tolerance,
        "relative_tolerance": example.relative_tolerance,
    }
    return {name: value for name, value in key.items() if value}
