"""What grpo/settings/config.py's fields may be, and which of them belong together."""

from typing import Literal, get_args

from rewards.modes import MODES

# The next seven are as grpo/advantages.py, grpo/loss.py and grpo/objectives/ have them; a test
# compares. Those files import torch, for which no --help and no mistyped flag should wait.
AdvantageScale = Literal["group", "batch", "none"]
AdvantageBaseline = Literal["mean", "leave_one_out"]
RewardAggregation = Literal["sum_then_normalize", "normalize_then_sum"]
LossNormalization = Literal["sequence", "token", "constant"]
RatioLevel = Literal["token", "sequence"]
Surrogate = Literal["clip", "cispo", "sapo"]
KLEstimator = Literal["k1", "k2", "k3", "k3_corrected"]
Method = Literal["grpo", "sft"]
CurriculumName = Literal["none", "pass_rate"]
Schedule = Literal["linear", "cosine", "constant"]
OptimizerName = Literal["adamw", "adamw_8bit"]
Dtype = Literal["auto", "float32", "bfloat16"]
GroundingKind = Literal["none", "penalty", "scale"]
LogprobBackend = Literal["auto", "torch", "cuda"]
LogprobDistribution = Literal["full", "filtered"]

GRPO = ("grpo", "exact")  # kinds of run: completions are sampled, or listed

CHOICES: dict[str, tuple[str, ...]] = {
    "method": get_args(Method),
    "mode": tuple(MODES),
    "curriculum": get_args(CurriculumName),
    "advantage_scale": get_args(AdvantageScale),
    "advantage_baseline": get_args(AdvantageBaseline),
    "reward_aggregation": get_args(RewardAggregation),
    "loss_normalization": get_args(LossNormalization),
    "ratio_level": get_args(RatioLevel),
    "surrogate": get_args(Surrogate),
    "kl_estimator": get_args(KLEstimator),
    "lr_schedule": get_args(Schedule),
    "beta_schedule": get_args(Schedule),
    "optimizer": get_args(OptimizerName),
    "dtype": get_args(Dtype),
    "grounding": get_args(GroundingKind),
    "logprob_backend": get_args(LogprobBackend),
    "logprob_distribution": get_args(LogprobDistribution),
}

# What --help says of a name; a test asks for each.
_MEANINGS: dict[str, dict[str, str]] = {
    "advantage_scale": {
        "group": "the std of the group's rewards (GRPO)",
        "batch": "that of all rewards of the step (Lite PPO)",
        "none": "nothing (Dr. GRPO)",
    },
    "advantage_baseline": {
        "mean": "that of its group",
        "leave_one_out": "that of the group's others (RLOO)",
    },
    "reward_aggregation": {
        "sum_then_normalize": "weighted rewards are added up and compared within the group",
        "normalize_then_sum": "each reward function is compared on its own (GDPO)",
    },
    "loss_normalization": {
        "sequence": "the tokens of each completion, then completions (DeepSeekMath)",
        "token": "all tokens of the step (DAPO)",
        "constant": "as many tokens as completions could have (Dr. GRPO)",
    },
    "ratio_level": {
        "token": "each token's own",
        "sequence": "the whole completion's, by its mean log-ratio (GSPO)",
    },
    "surrogate": {
        "clip": "the clipped ratio (PPO, GRPO)",
        "cispo": "the log-probability, weighed by the ratio up to --epsilon-high itself",
        "sapo": "a soft gate of the ratio, without limits",
    },
    "kl_estimator": {
        "k1": "the log-ratio, whose gradient is 0 on average",
        "k2": "half its square",
        "k3": "DeepSeekMath's",
        "k3_corrected": "that times the ratio, as TRL has it",
    },
}


def meanings_of(field: str) -> str:
    """Return what each name of a choice means, for its flag's help.

    >>> meanings_of("ratio_level")
    "token: each token's own; sequence: the whole completion's, by its mean log-ratio (GSPO)"
    """
    return "; ".join(f"{name}: {words}" for name, words in _MEANINGS[field].items())


# The fields that name files and folders; a reward may be path.py:function.
PATHS = (
    *("model", "train_json", "eval_json", "image_root", "prompt_template", "rewards"),
    *("reward_arguments", "output_dir"),
)


def kind_of(method: str, *, exact: bool) -> str:
    """Return the kind of run, by the names that a setting's ``only`` holds.

    A method that there is not, such as "exact", is refused by the config as that alone.

    >>> kind_of("grpo", exact=True), kind_of("sft", exact=False), kind_of("exact", exact=False)
    ('exact', 'sft', 'grpo')
    """
    if method == "sft":
        return "sft"
    return "exact" if method == "grpo" and exact else "grpo"
