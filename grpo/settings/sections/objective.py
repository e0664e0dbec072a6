"""What a completion is worth, and what the update makes of it."""

from dataclasses import dataclass

from grpo.settings.choices import AdvantageScale, GroundingKind, LossNormalization
from process.flags import setting


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """What a completion is worth, and what the update makes of it."""

    rewards: tuple[str, ...] = setting(
        ("accuracy", "format"),
        "reward functions: registered names or path.py:function",
        only="grpo",
    )
    reward_weights: tuple[float, ...] = setting(
        (), "one per reward function, in the same order; default 1 each", only="grpo"
    )
    reward_arguments: str = setting(
        "",
        "TOML file of arguments for reward functions of your own: a table [function] for each",
        "FILE.toml",
        only="grpo",
    )
    advantage_scale: AdvantageScale = setting(
        "group", "which spread divides the advantages", only="grpo"
    )
    loss_normalization: LossNormalization = setting(
        "sequence",
        "mean over sequences (DeepSeekMath), over tokens (DAPO), constant (Dr. GRPO)",
        only="grpo",
    )
    beta: float = setting(
        0.04, "weight of the KL to the start model; 0: no reference is loaded", only="grpo"
    )
    epsilon_low: float = setting(0.2, "ratios are clipped below 1 - this", only="grpo")
    epsilon_high: float = setting(
        0.2, "ratios are clipped above 1 + this (DAPO raises it)", only="grpo"
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
