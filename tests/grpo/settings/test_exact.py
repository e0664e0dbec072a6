"""--exact-no-think: what only sampling uses does not go with it, by the settings' own word."""

from dataclasses import fields, replace

import pytest

from grpo.settings.config import GRPOConfig
from grpo.settings.resolve import resolve, resolve_config
from grpo.settings.resuming import resumed_config
from grpo.settings.run_memory import memory_of_run
from process.flags import flag_of

EXACT = {"exact_no_think": True, "mode": "no_think"}
USED = {
    *("rewards", "reward_weights", "reward_arguments", "beta", "temperature", "reference_device"),
    *("beta_schedule", "beta_final", "exact_no_think"),
}
ONLY = {item.name: item.metadata["only"] for item in fields(GRPOConfig)}
SAMPLING = sorted(name for name, only in ONLY.items() if only and "exact" not in only)
OTHERS = {
    "group_size": 8,
    "top_k": 3,
    "mask_truncated": True,
    "grounding": "scale",
    "advantage_scale": "none",
    "kl_estimator": "k2",
    "num_iterations": 2,
    "verify_prefix": True,
}


def test_each_setting_says_whether_listed_answers_use_it():
    assert {name for name, only in ONLY.items() if only and "exact" in only} == USED
    assert OTHERS.keys() <= {*SAMPLING}


@pytest.mark.parametrize("name", SAMPLING)
def test_a_flag_that_only_sampling_uses_is_refused_whatever_its_value(name):
    default = getattr(GRPOConfig(), name)
    with pytest.raises(
        ValueError, match=f"{flag_of(name)}: not used by --exact-no-think, which samples nothing"
    ):
        resolve_config({**EXACT, name: default})


@pytest.mark.parametrize("name", OTHERS)
def test_so_is_another_value_in_a_config_or_in_the_file_that_asks_for_it(name, tmp_path):
    message = f"{name}={OTHERS[name]} is not used by exact_no_think, which samples nothing"
    with pytest.raises(ValueError, match=message):
        GRPOConfig(**EXACT, **{name: OTHERS[name]})
    value = OTHERS[name]
    written = f'"{value}"' if isinstance(value, str) else str(value).lower()
    own = tmp_path / "own.toml"
    own.write_text(f'exact_no_think = true\nmode = "no_think"\n{name} = {written}\n')
    with pytest.raises(ValueError, match=message):
        resolve_config({}, str(own))


def test_a_file_of_other_runs_serves_it_too_without_what_it_does_not_use(tmp_path):
    file = tmp_path / "grpo.toml"
    file.write_text('group_size = 16\nbeta = 0.25\n[sft]\nmode = "no_think"\n')
    config = resolve_config(EXACT, str(file))
    assert (config.beta, config.group_size) == (0.25, GRPOConfig().group_size)
    assert resolve_config({}, str(file)).group_size == 16
    assert resolve_config({"method": "sft"}, str(file)).group_size == GRPOConfig().group_size


def test_the_embedded_default_gives_what_it_uses():
    found = resolve(EXACT, None)
    assert (found.config.beta, found.config.prompts_per_step) == (0.02, 32)
    assert found.config.kind == "exact" and not found.config.samples
    assert "group_size" not in found.taken["configs/phantoms.toml"]
    assert resolve_config({}).samples and resolve_config({"method": "sft"}).kind == "sft"
    with_adapters = resolve_config({**EXACT, "lora_rank": 4, "model": "x", "train_json": ["y"]})
    assert with_adapters.learning_rate == 1e-5  # GRPO's


@pytest.mark.parametrize("mode", ["think", "think_after"])
def test_a_mode_with_thoughts_is_refused(mode):
    with pytest.raises(ValueError, match=f"mode={mode} does not go with exact_no_think, which"):
        GRPOConfig(exact_no_think=True, mode=mode)


def test_a_method_called_exact_is_refused_as_one_that_there_is_not():
    with pytest.raises(ValueError) as refused:
        resolve_config({"method": "exact", "group_size": 4})
    assert str(refused.value).splitlines()[1:] == [
        "  - method='exact' is unknown: use one of grpo, sft"
    ]


def test_the_supervised_baseline_refuses_it():
    with pytest.raises(ValueError, match="--exact-no-think: not used by --method sft"):
        resolve_config({"method": "sft", "exact_no_think": True})


def test_a_run_that_goes_on_refuses_what_only_sampling_uses():
    stored = dict(vars(GRPOConfig(**EXACT)).items())
    stored["reference_device"] = "cpu"
    assert resumed_config(stored, {"max_steps": 7}).max_steps == 7
    with pytest.raises(ValueError, match="--verify-prefix: not used by --exact-no-think"):
        resumed_config(stored, {"verify_prefix": True})


def test_its_memory_has_no_rollout():
    sampled = replace(resolve_config({"mode": "no_think"}), device="cpu", dtype="float32")
    sampled = replace(sampled, reference_device="cpu")
    exact = replace(sampled, exact_no_think=True, group_size=GRPOConfig().group_size)
    assert memory_of_run(exact).total < memory_of_run(sampled).total
