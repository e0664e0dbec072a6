"""The learning rate of each step of a run."""

import math

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
    if config.lr_schedule == "linear":
        return config.learning_rate * (1 - progress)
    if config.lr_schedule == "cosine":
        return config.learning_rate * (1 + math.cos(math.pi * progress)) / 2
    return config.learning_rate
