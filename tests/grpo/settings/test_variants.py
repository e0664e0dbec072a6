"""Variants of the objective: named as the maths has them, and refused where they do nothing."""

from dataclasses import fields
from typing import get_args

import pytest

from grpo import advantages, loss
from grpo.objectives.divergence import KL_ESTIMATORS
from grpo.objectives.ratio import RATIO_LEVELS
from grpo.objectives.surrogate import SURROGATES
from grpo.settings.choices import CHOICES
from grpo.settings.config import GRPOConfig
from grpo.settings.resolve import resolve, resolve_config
from grpo.settings.toml_file import read_toml, shipped_names
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
        ({"surrogate": "cispo", "epsilon_high": 0.99}, "epsilon_high=0.99 is, with surrogate=ci"),
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
        ({"sampler_correction_cap": -1.0}, "sampler_correction_cap=-1.0 must not be negative"),
        ({"soft_overlong_tokens": -1}, "soft_overlong_tokens=-1 must not be negative"),
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
    given = {"surrogate": surrogate, "epsilon_low": 0.1, "epsilon_high": 5.0, "num_iterations": 2}
    warnings = resolve(given, None).warnings
    told = [f"{flag_of(name)}: --surrogate {surrogate} has no such limit" for name in unused]
    assert list(warnings) == told


def test_a_limit_that_the_soft_gate_does_not_know_is_not_compared_with_another():
    (warning,) = resolve(
        {"surrogate": "sapo", "epsilon_low": 0.3, "num_iterations": 2}, None
    ).warnings
    assert warning == "--epsilon-low: --surrogate sapo has no such limit"


CISPO_OF_COMPLETIONS = {"surrogate": "cispo", "epsilon_high": 5.0, "ratio_level": "sequence"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ratio_level": "sequence"}, "--ratio-level: in one pass"),
        ({"ratio_level": "sequence", "kl_estimator": "k3_corrected"}, None),  # has a ratio of it
        ({"ratio_level": "sequence", "sampler_correction_cap": 2.0}, None),  # weighs tokens
        (
            {"ratio_level": "sequence", "top_entropy_share": 0.2},
            "--top-entropy-share: with --ratio-level sequence the gradient goes through",
        ),
        ({"ratio_cap": 4.0, "surrogate": "clip"}, "--ratio-cap: in one pass over a batch every"),
        ({"epsilon_high": 0.28, "surrogate": "clip"}, "--epsilon-high: in one pass"),
        ({"surrogate": "sapo", "kl_estimator": "k3_corrected"}, "--surrogate: in one pass"),
        ({"surrogate": "sapo", "top_entropy_share": 0.2}, "--surrogate: in one pass"),
        (CISPO_OF_COMPLETIONS, "--epsilon-high, --ratio-level, --surrogate: in one pass over"),
        (CISPO_OF_COMPLETIONS | {"top_entropy_share": 0.2}, None),  # each token has its own
        ({"surrogate": "sapo", "num_iterations": 2}, None),
        ({"epsilon_high": 0.2, "ratio_level": "token"}, None),  # as it is without them
        ({"reference_sync": 10, "max_steps": 10}, "--reference-sync 10: the run ends after 10"),
        ({"reference_sync": 9, "max_steps": 10}, None),
        ({"reference_sync": 9, "epochs": 1.0}, None),
        ({"reference_sync": 1}, "--reference-sync 1: in one pass over a batch the reference is"),
        ({"reference_sync": 1, "num_iterations": 2}, None),
        ({"reference_sync": 2}, None),
        ({"kl_estimator": "k1"}, "--kl-estimator k1: as a loss it has a gradient of 0"),
        ({"kl_estimator": "k2"}, None),
    ],
)
def test_what_changes_nothing_in_such_a_run_is_warned_about(given, told):
    warnings = resolve(given, None).warnings
    assert [text.startswith(told or "") for text in warnings] == [True] * (told is not None)


@pytest.mark.parametrize(
    ("preset", "given", "told"),
    [
        ("gspo", {}, None),
        ("gspo", {"num_iterations": 1}, "--epsilon-low, --epsilon-high, --ratio-level: in one"),
        ("sapo", {"num_iterations": 1}, "--surrogate: in one pass"),
        ("dapo", {}, None),  # the paper's limit, beside one pass
        (
            "dapo",
            {"surrogate": "sapo", "num_iterations": 2},
            "--epsilon-high: --surrogate sapo has",
        ),
    ],
)
def test_a_flag_that_takes_the_effect_of_a_preset_away_is_warned_about(preset, given, told):
    warnings = resolve(given, f"objectives/{preset}").warnings
    assert [text.startswith(told or "") for text in warnings] == [True] * (told is not None)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"method": "sft"}, "top_k, ratio_cap, num_iterations not used by --method sft, which"),
        (
            {"exact_no_think": True, "mode": "no_think"},
            "top_k, ratio_cap, num_iterations not used by --exact-no-think, which samples nothing",
        ),
        ({}, None),
    ],
)
def test_what_a_kind_of_run_leaves_of_a_config_file_is_warned_about(given, named, tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("seed = 3\ntop_k = 4\nratio_cap = 4.0\nnum_iterations = 2\n")
    told = resolve(given, str(file)).warnings
    assert len(told) == (named is not None)
    assert all(text.startswith(f"--config {file}: {named}") for text in told)


def test_a_file_that_says_it_serves_both_methods_is_not_warned_about(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('top_k = 4\n[sft]\nmode = "no_think"\n')
    assert resolve({"method": "sft"}, str(file)).warnings == ()


SFT = {"method": "sft", "mode": "no_think"}
OF_GRPO = [item for item in fields(GRPOConfig) if item.metadata["only"]]


@pytest.mark.parametrize("item", OF_GRPO, ids=lambda item: item.name)
def test_a_config_of_the_supervised_baseline_refuses_what_its_fields_say(item):
    GRPOConfig(**SFT, **{item.name: item.default})
    other = {bool: not item.default, int: 3, float: 0.5, tuple: ("x",)}.get(type(item.default))
    other = (1.0, 2.0) if item.name == "reward_weights" else other
    value = CHOICES[item.name][-1] if item.name in CHOICES else other
    value = "file.toml" if value is None else value
    if item.name == "reference_device":
        GRPOConfig(**SFT, reference_device="cpu")
        return
    with pytest.raises(ValueError, match=f"{item.name}=.* is not used by method=sft, which neith"):
        GRPOConfig(**SFT, **{item.name: value if value != item.default else CHOICES[item.name][0]})


def test_a_baseline_without_a_kl_says_what_is_so():
    assert not GRPOConfig(**SFT, beta=0.0).has_reference


def test_a_wrong_name_of_a_preset_is_told_those_that_there_are():
    with pytest.raises(ValueError, match=r"config dapo cannot be read .*objectives/dapo\.toml"):
        resolve_config({}, "dapo")
    assert all(read_toml(name) for name in shipped_names())
