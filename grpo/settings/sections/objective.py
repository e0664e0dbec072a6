"""What the update makes of advantages: ratio and surrogate, which tokens count, the KL."""

from dataclasses import dataclass

from grpo.settings.choices import (
    GRPO,
    KLEstimator,
    LossNormalization,
    RatioLevel,
    Schedule,
    Surrogate,
    meanings_of,
)
from process.flags import setting


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """What the update makes of advantages: ratio and surrogate, which tokens count, the KL."""

    surrogate: Surrogate = setting(
        "clip",
        f"what is raised; {meanings_of('surrogate')}",
        only="grpo",
    )
    ratio_level: RatioLevel = setting(
        "token",
        f"whose ratio it is; {meanings_of('ratio_level')}",
        only="grpo",
    )
    epsilon_low: float = setting(0.2, "ratios are clipped below 1 - this", only="grpo")
    epsilon_high: float = setting(
        0.2, "ratios are clipped above 1 + this (DAPO raises it)", only="grpo"
    )
    ratio_cap: float = setting(
        0.0,
        "no ratio counts above this, where the advantage is negative either (two-sided clipping);"
        " 0: none",
        only="grpo",
    )
    loss_normalization: LossNormalization = setting(
        "sequence",
        f"what the loss is a mean over; {meanings_of('loss_normalization')}",
        only="grpo",
    )
    mask_truncated: bool = setting(
        False, "leave truncated completions out of the loss", only="grpo"
    )
    top_entropy_share: float = setting(
        1.0,
        "train only this share of a batch's tokens, those with the highest entropy; 1: all",
        only="grpo",
    )
    sampler_correction_cap: float = setting(
        0.0,
        "weigh each token by how much likelier the update finds it than the sampler did, up to"
        " this; 0: not at all",
        only="grpo",
    )
    entropy_bonus: float = setting(
        0.0,
        "the loss gets minus this times the mean entropy of the tokens that are trained, so the"
        " policy stays unsure; below 0 it is made surer; 0: neither",
        "COEF",
        only="grpo",
    )
    beta: float = setting(
        0.04,
        "weight of the KL to the reference, which is the start model unless --reference-sync; 0:"
        " none is loaded, unless a schedule goes to another",
        only=GRPO,
    )
    beta_schedule: Schedule = setting(
        "constant",
        "how that weight goes over the run from --beta to --beta-final; constant: it stays --beta",
        only=GRPO,
    )
    beta_final: float = setting(
        0.0,
        "where --beta-schedule goes, unless it is constant; the reference stays loaded, also at 0",
        only=GRPO,
    )
    kl_estimator: KLEstimator = setting(
        "k3",
        "which estimate of the KL is in the loss (docs/objectives.md);"
        f" {meanings_of('kl_estimator')}",
        only="grpo",
    )
    reference_sync: int = setting(
        0,
        "make the reference of the KL the policy again after every K steps; 0: it stays the start"
        " model",
        "K",
        only="grpo",
    )
