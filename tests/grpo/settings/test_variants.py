"""Variants of the objective: named as the maths has them, and refused where they do nothing."""

from typing import get_args

import pytest

from grpo import advantages, loss
from grpo.objectives.divergence import KL_ESTIMATORS
from grpo.objectives.ratio import RATIO_LEVELS
from grpo.objectives.surrogate import SURROGATES
from grpo.settings.choices import CHOICES
from grpo.settings.config import GRPOConfig
from grpo.settings.resolve import resolve, resolve_config
from process.flags import flag_of


@pytest.mark.parametrize(
    ("name", "of_the_maths"),
    [
        ("advantage_scale", tuple(advantages.SPREADS)),
        ("advantage_baseline", tuple(advantages.BASELINES)),
        ("reward_aggregation", get_args(advantages.Aggregation)),
        ("loss_normalization", get_args(loss.Normalization)),
        ("ratio_level", tuple(RATIO_LEVELS)),
        ("surrogate", tuple(SURROGATES)),
        ("kl_estimator", tuple(KL_ESTIMATORS)),
    ],
)
def test_what_a_setting_may_be_is_what_the_maths_knows(name, of_the_maths):
    assert CHOICES[name] == of_the_maths


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"surrogate": "cispo"}, "epsilon_high=0.2 is, with surrogate=cispo, the largest weight"),
        (
            {"surrogate": "sapo", "ratio_cap": 3.0},
            "ratio_cap=3.0 is not used by surrogate=sapo: leave it away",
        ),
        ({"ratio_cap": 1.2}, r"ratio_cap=1.2 must be above 1 \+ epsilon_high=0.2"),
        ({"ratio_cap": -1.0}, "ratio_cap=-1.0 must not be negative"),
        ({"dynamic_sampling": -1}, "dynamic_sampling=-1 must not be negative"),
        ({"beta": 0.0, "kl_estimator": "k2"}, "kl_estimator=k2 is not used with beta=0"),
        ({"beta": 0.0, "reference_sync": 5}, "reference_sync=5 is not used with beta=0"),
        ({"reference_sync": -1}, "reference_sync=-1 must not be negative"),
        (
            {"reference_sync": 5, "lora_rank": 8},
            "reference_sync=5 does not go with lora_rank=8: the reference is the policy with its"
            " adapters off, and has no weights of its own to follow with; leave it away, or train",
        ),
        (
            {"beta_schedule": "linear", "beta": 0.0},
            "beta_schedule=linear goes from beta=0.0 to beta_final=0.0, which is the same: leave",
        ),
        ({"beta_final": 0.1}, "beta_final=0.1 is not used by beta_schedule=constant: leave it"),
        (
            {"beta_final": -0.1, "beta_schedule": "linear"},
            "beta_final=-0.1 must not be negative",
        ),
        ({"top_entropy_share": 0.0}, r"top_entropy_share=0.0 must lie in \(0, 1\]"),
        ({"top_entropy_share": 1.5}, r"top_entropy_share=1.5 must lie in \(0, 1\]"),
        (
            {"logprob_distribution": "filtered"},
            "logprob_distribution=filtered is not used without top_k: give --top-k too",
        ),
        (
            {"logprob_distribution": "filtered", "top_p": 0.9},
            "filtered needs a top_k beside top_p=0.9: .* give --top-k 256 or less too",
        ),
        (
            {"logprob_distribution": "filtered", "top_k": 257},
            "up to 256: top_k=257 is too large",
        ),
        (
            {"logprob_distribution": "filtered", "top_k": 1},
            "top_k=1 leaves one token of probability 1 and nothing to learn",
        ),
        ({"entropy_bonus": float("nan")}, "entropy_bonus=nan must be a finite number"),
        ({"sampler_correction_cap": 0.5}, "sampler_correction_cap=0.5 must be 0 or at least 1"),
        (
            {"curriculum": "pass_rate", "dynamic_sampling": 2},
            "curriculum=pass_rate does not go with dynamic_sampling=2: both choose",
        ),
        (
            {"soft_overlong_tokens": 257},
            "soft_overlong_tokens=257 must not be above max_completion_tokens=256",
        ),
        (
            {"reward_aggregation": "normalize_then_sum", "advantage_scale": "none"},
            "advantage_scale=none is not used by reward_aggregation=normalize_then_sum",
        ),
        (
            {"reward_aggregation": "normalize_then_sum", "advantage_baseline": "leave_one_out"},
            "advantage_baseline=leave_one_out is not used by",
        ),
    ],
)
def test_what_would_do_nothing_or_harm_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GRPOConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"surrogate": "cispo", "epsilon_high": 1.0},
        {"ratio_cap": 1.21},
        {"top_entropy_share": 1.0},
        {"sampler_correction_cap": 1.0},
        {"entropy_bonus": -0.01},
        {"logprob_distribution": "filtered", "top_k": 2},
        {"logprob_distribution": "filtered", "top_k": 256, "top_p": 0.9},
        {"soft_overlong_tokens": 256},
        {"beta": 0.0, "beta_final": 0.1, "beta_schedule": "cosine", "kl_estimator": "k2"},
        {"beta": 0.0, "beta_final": 0.1, "beta_schedule": "linear", "reference_sync": 1},
    ],
)
def test_at_their_bounds_they_run(settings):
    GRPOConfig(**settings)


def test_a_curriculum_is_one_of_those_there_are_and_not_of_the_supervised_baseline():
    with pytest.raises(ValueError, match="curriculum='hard' is unknown: use one of none, pass_ra"):
        GRPOConfig(curriculum="hard")
    given = {"method": "sft", "model": "m", "train_json": ("t",), "curriculum": "pass_rate"}
    with pytest.raises(ValueError, match=r"--curriculum.*sft"):
        resolve_config(given, None)


@pytest.mark.parametrize(
    ("surrogate", "unused"),
    [("clip", []), ("cispo", ["epsilon_low"]), ("sapo", ["epsilon_low", "epsilon_high"])],
)
def test_a_limit_that_a_surrogate_does_not_know_is_warned_about(surrogate, unused):
    given = {"surrogate": surrogate, "epsilon_low": 0.1, "epsilon_high": 5.0}
    warnings = resolve(given, None).warnings
    told = [f"{flag_of(name)}: --surrogate {surrogate} has no such limit" for name in unused]
    assert list(warnings) == told
