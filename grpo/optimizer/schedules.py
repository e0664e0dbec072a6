"""What changes from step to step by plan: the learning rate, and the weight of the KL."""

import math

from grpo.settings.choices import Schedule
from grpo.settings.config import GRPOConfig


def learning_rate_at(step: int, total_steps: int, config: GRPOConfig) -> float:
    """Return the learning rate of ``step`` (from 0) of a run of ``total_steps``.

    It rises linearly over ``warmup_steps``, reaching the peak with the last of them (so that the
    first step is not spent on a rate of 0), then falls to 0, which the step after the last would
    have ("linear", Med-R1's; "cosine"), or stays ("constant").

    >>> config = GRPOConfig(learning_rate=1.0, warmup_steps=2)
    >>> [learning_rate_at(step, 6, config) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    return config.learning_rate * _left(config.lr_schedule, progress)


def beta_at(step: int, total_steps: int, config: GRPOConfig) -> float:
    """Return the weight of the KL of ``step`` (from 0) of a run of ``total_steps``.

    It goes from ``beta`` to ``beta_final``, which the step after the last would have, on the curve
    of ``beta_schedule``: the same that the learning rate has after its warm-up.

    >>> config = GRPOConfig(beta=0.08, beta_final=0.04, beta_schedule="linear")
    >>> [round(beta_at(step, 4, config), 6) for step in range(4)]
    [0.08, 0.07, 0.06, 0.05]
    """
    left = _left(config.beta_schedule, step / max(1, total_steps))
    return config.beta * left + config.beta_final * (1 - left)


def _left(schedule: Schedule, progress: float) -> float:
    """Return how much of the first value is left after a share of the way: from 1 to 0."""
    if schedule == "linear":
        return 1 - progress
    if schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1.0
