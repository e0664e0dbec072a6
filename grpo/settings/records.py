"""What the sampler and the loss are told of a run's settings, and nothing else of them.

`GRPOConfig.sampling` and `GRPOConfig.clip` make these two, so a caller that only samples (an
evaluation, a curation) names six numbers and needs no run. Nothing is checked here: the values are
those of a config, which was, or of a caller that writes them down.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are sampled; with a batch's step and positions it decides every token."""

    seed: int
    temperature: float  # divides the logits, in sampling and wherever they are scored
    top_k: int  # among the k likeliest tokens; 0: off
    top_p: float  # among the likeliest tokens of this total; 1: off
    max_completion_tokens: int
    group_size: int  # completions per prompt, G


@dataclass(frozen=True, kw_only=True)
class Clip:
    """How far the policy may move: the range of its ratios, and the weight of the KL."""

    epsilon_low: float  # ratios are clipped below 1 - this
    epsilon_high: float  # and above 1 + this
    beta: float  # weight of the KL to the reference; 0: there is none
