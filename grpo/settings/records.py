"""What the sampler and the loss are told of a run's settings, and nothing else of them.

`GRPOConfig` makes them as its properties of the same names, so a caller that only samples (an
evaluation, a curation) names six numbers and needs no run. Nothing is checked here: the values are
those of a config, which was, or of a caller that writes them down.
"""

from dataclasses import dataclass

from grpo.settings.choices import (
    AdvantageBaseline,
    AdvantageScale,
    KLEstimator,
    LogprobDistribution,
    RatioLevel,
    RewardAggregation,
    Surrogate,
)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are sampled; with a batch's step and positions it decides every token."""

    seed: int
    temperature: float  # divides the logits, in sampling and wherever they are scored
    top_k: int  # among the k likeliest tokens; 0: off
    top_p: float  # among the likeliest tokens of this total; 1: off
    logprob_distribution: LogprobDistribution  # that tokens are scored by
    max_completion_tokens: int
    group_size: int  # completions per prompt, G

    @property
    def kept_ids(self) -> int:
        """How many ids a token's distribution is limited to, K; 0: it is the full one."""
        return self.top_k if self.logprob_distribution == "filtered" else 0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How rewards become advantages: what grpo/advantages.py's `step_advantages` takes."""

    aggregation: RewardAggregation
    scale: AdvantageScale
    baseline: AdvantageBaseline


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What the loss is made of, and how far the policy may move: see grpo/loss.py."""

    epsilon_low: float  # ratios are clipped below 1 - this
    epsilon_high: float  # and above 1 + this
    beta: float  # weight of the KL to the reference; 0: there is none
    ratio_level: RatioLevel
    ratio_cap: float  # 0: none
    surrogate: Surrogate
    kl_estimator: KLEstimator
    entropy_bonus: float  # 0: none
