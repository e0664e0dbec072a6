"""What a completion is worth, and what the update makes of it."""

from dataclasses import dataclass

from grpo.settings.choices import (
    AdvantageBaseline,
    AdvantageScale,
    GroundingKind,
    KLEstimator,
    LossNormalization,
    RatioLevel,
    RewardAggregation,
    Schedule,
    Surrogate,
)
from process.flags import setting

GRPO = ("grpo", "exact")  # whether its completions are sampled or listed


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """What a completion is worth, and what the update makes of it."""

    rewards: tuple[str, ...] = setting(
        ("accuracy", "format"),
        "reward functions: registered names or path.py:function",
        only=GRPO,
    )
    reward_weights: tuple[float, ...] = setting(
        (), "one per reward function, in the same order; default 1 each", only=GRPO
    )
    reward_arguments: str = setting(
        "",
        "TOML file of arguments for reward functions of your own: a table [function] for each",
        "FILE.toml",
        only=GRPO,
    )
    advantage_scale: AdvantageScale = setting(
        "group", "which spread divides the advantages", only="grpo"
    )
    advantage_baseline: AdvantageBaseline = setting(
        "mean", "what is subtracted: the group's mean, or that of the others (RLOO)", only="grpo"
    )
    reward_aggregation: RewardAggregation = setting(
        "sum_then_normalize",
        "normalize_then_sum: each reward function is compared within the group on its own (GDPO)",
        only="grpo",
    )
    soft_overlong_tokens: int = setting(
        0,
        "the last N tokens before --max-completion-tokens cost a reward of up to 1, rising linearly"
        " (DAPO); 0: none",
        only="grpo",
    )
    loss_normalization: LossNormalization = setting(
        "sequence",
        "mean over sequences (DeepSeekMath), over tokens (DAPO), constant (Dr. GRPO)",
        only="grpo",
    )
    beta: float = setting(
        0.04,
        "weight of the KL to the reference, which is the start model unless --reference-sync; 0:"
        " none is loaded, unless a schedule goes to another",
        only=GRPO,
    )
    beta_schedule: Schedule = setting(
        "constant", "how it goes over the run from --beta to --beta-final, or not", only=GRPO
    )
    beta_final: float = setting(
        0.0,
        "where it goes, unless --beta-schedule is constant; the reference stays loaded",
        only=GRPO,
    )
    reference_sync: int = setting(
        0,
        "make the reference of the KL the policy again after every K steps; 0: it stays the start"
        " model",
        "K",
        only="grpo",
    )
    epsilon_low: float = setting(0.2, "ratios are clipped below 1 - this", only="grpo")
    epsilon_high: float = setting(
        0.2, "ratios are clipped above 1 + this (DAPO raises it)", only="grpo"
    )
    surrogate: Surrogate = setting(
        "clip",
        "what is raised: the clipped ratio (PPO, GRPO); cispo: the log-probability, weighed by the"
        " ratio up to --epsilon-high itself; sapo: a soft gate of the ratio, without limits",
        only="grpo",
    )
    ratio_level: RatioLevel = setting(
        "token", "sequence: the mean log-ratio of a whole completion (GSPO)", only="grpo"
    )
    ratio_cap: float = setting(
        0.0,
        "no ratio counts above this, where the advantage is negative either (two-sided clipping);"
        " 0: none",
        only="grpo",
    )
    kl_estimator: KLEstimator = setting(
        "k3",
        "of the KL in the loss (docs/objectives.md); k3_corrected: times the ratio, TRL's default",
        only="grpo",
    )
    entropy_bonus: float = setting(
        0.0,
        "the loss gets minus this times the mean entropy of the tokens that are trained, so the"
        " policy stays unsure; below 0 it is made surer; 0: neither",
        "COEF",
        only="grpo",
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
    mask_truncated: bool = setting(
        False, "leave truncated completions out of the loss", only="grpo"
    )
    grounding: GroundingKind = setting(
        "none",
        "penalty: a reward less the probability of its letter with the image blank; scale:"
        " advantages times 1 - that of the right letter; costs about one completion more per group",
        only="grpo",
    )
    grounding_weight: float = setting(
        1.0, "of that penalty; only with --grounding penalty", only="grpo"
    )
    exact_no_think: bool = setting(
        False,
        "with --mode no_think: sample nothing, list every well-formed answer of a choice and take"
        " the exact gradient of the expected reward (docs/objectives.md)",
        only=GRPO,
    )
