"""A curriculum is told what came of each step; which examples it then shows is its own matter.

What draws them stands beside the data (data/curriculum.py), of which this package knows nothing.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from grpo.rollout import PromptBatch


class StepObserver(Protocol):
    """As `data.curriculum.Curriculum`, of which a step needs no more than this."""

    def metrics(self, step: int) -> dict[str, float | None]:
        """Return what is logged of the weights that a step was drawn with."""

    def observe(self, step: int, ids: Sequence[str], shares: Sequence[float]) -> None:
        """Take note of what came of a step."""

    def state(self, done: int) -> dict[str, Any]:
        """Return the part of state.json after ``done`` steps."""


def told_of_step(
    curriculum: StepObserver,
    batch: PromptBatch,
    rewards_per_fn: Tensor,
    names: Sequence[str],
    weights: Sequence[float],
) -> dict[str, float | None]:
    """Return what is logged of the curriculum, once it is told what came of a step.

    Args:
        curriculum: of the run.
        batch: the step's N examples, those of all processes.
        rewards_per_fn: (N, G, R).
        names: of the R reward functions.
        weights: of each.
    """
    metrics = curriculum.metrics(batch.step)
    ids = [example.id for example in batch.examples]
    curriculum.observe(batch.step, ids, passed_shares(rewards_per_fn, names, weights))
    return metrics


def passed_shares(
    rewards_per_fn: Tensor, names: Sequence[str], weights: Sequence[float]
) -> list[float]:
    """Return for each of N groups the share of its G completions that passed.

    A completion passes where its reward ``accuracy`` is full, 1. Without a reward of that name it
    passes where its weighted total lies above the middle of its range, which is half the sum of the
    weights: rewards are taken to reach from 0 to 1, as ours do, and one of negative weight to pull
    the total down from 0.

    >>> import torch
    >>> rewards = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.4, 1.0], [1.0, 1.0]]])
    >>> passed_shares(rewards, ("accuracy", "format"), (1.0, 1.0))
    [0.5]
    >>> passed_shares(rewards, ("token_f1", "format"), (2.0, 1.0))
    [0.75]

    Args:
        rewards_per_fn: (N, G, R).
        names: of the R reward functions.
        weights: of each.
    """
    if "accuracy" in names:
        passed = rewards_per_fn[..., list(names).index("accuracy")] >= 1  # (N, G)
    else:
        totals = rewards_per_fn @ rewards_per_fn.new_tensor(weights)  # (N, G)
        passed = totals > sum(weights) / 2
    return [sum(group) / len(group) for group in passed.tolist()]
