"""What a completion is worth: rewards, and what they become beside those of the group."""

from dataclasses import dataclass

from grpo.settings.choices import (
    GRPO,
    AdvantageBaseline,
    AdvantageScale,
    GroundingKind,
    RewardAggregation,
    meanings_of,
)
from process.flags import setting


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """What a completion is worth: rewards, and what they become beside those of the group."""

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
    soft_overlong_tokens: int = setting(
        0,
        "the last N tokens before --max-completion-tokens cost a reward of up to 1, rising linearly"
        " (DAPO); 0: none",
        only="grpo",
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
    reward_aggregation: RewardAggregation = setting(
        "sum_then_normalize",
        meanings_of("reward_aggregation"),
        only="grpo",
    )
    advantage_baseline: AdvantageBaseline = setting(
        "mean",
        f"what is subtracted from a reward; {meanings_of('advantage_baseline')}",
        only="grpo",
    )
    advantage_scale: AdvantageScale = setting(
        "group",
        f"what divides the difference; {meanings_of('advantage_scale')}",
        only="grpo",
    )
