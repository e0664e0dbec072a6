"""Settings: what is refused, in which words, and where a run's values come from."""

import re
from dataclasses import asdict, fields

import pytest

from grpo.settings.absolute import with_absolute_paths
from grpo.settings.choices import CHOICES
from grpo.settings.command_line import add_config_flags
from grpo.settings.config import SECTIONS, GRPOConfig
from grpo.settings.resolve import refuse_unused, resolve, resolve_config
from grpo.settings.resuming import resumed_config
from grpo.settings.reward_code import with_rewards
from grpo.settings.toml_file import embedded_default, read_toml
from models.lora.settings import LoraSettings
from process.flag_parser import FlagParser
from process.flags import flag_of
from rewards.modes import MODES


def given(*arguments: str) -> dict:
    parser = FlagParser(prog="train.py")
    add_config_flags(parser)
    return vars(parser.parse_args(arguments))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group_size": 1}, "group_size=1 must be at least 2: advantages compare siblings"),
        ({"temperature": 0.0}, "temperature=0.0 must be positive: greedy siblings are identical"),
        ({"mode": "ponder"}, "mode='ponder' is unknown: use one of think, no_think, think_after"),
        ({"method": "ppo"}, "method='ppo' is unknown: use one of grpo, sft"),
        ({"beta": -0.1}, "beta=-0.1 must not be negative"),
        ({"only": ("q_lang",)}, "--only 'q_lang' is not FIELD=VALUE"),
        ({"only": ("eval:a=b",)}, "about the rows of eval, of which none are read"),
        ({"seed": -1}, "seed=-1 must not be negative"),
        ({"seed": 2**64}, "is too large: use one below 2"),
        ({"reward_weights": (float("nan"), 1.0)}, "reward_weights=nan must be a finite number"),
        ({"top_p": 0.0}, r"top_p=0.0 must lie in \(0, 1\]"),
        ({"epsilon_low": 0.3}, "need 0 < epsilon_low <= epsilon_high"),
        ({"epsilon_low": 1.0, "epsilon_high": 1.0}, "epsilon_low < 1"),
        ({"micro_batch_tokens": 256}, "micro_batch_tokens=256 holds no completion of"),
        ({"rewards": ()}, "rewards is empty: name at least one"),
        ({"reward_weights": (1.0,)}, "reward_weights has 1 numbers for 2 reward functions"),
        ({"reward_weights": (0.0, 0.0)}, "reward_weights are all 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan must be a finite number"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 must be above 0"),
        ({"prompts_per_step": 0}, "prompts_per_step=0 must be at least 1"),
        ({"grounding": "image"}, "grounding='image' is unknown: use one of none, penalty, scale"),
        ({"grounding": "penalty", "grounding_weight": 0.0}, "grounding_weight=0.0 must be above 0"),
        ({"grounding": "penalty", "grounding_weight": 1e19}, "must not be above"),
        (
            {"optimizer": "adamw_8bit", "offload_optimizer": True},
            "optimizer=adamw_8bit does not go with offload_optimizer",
        ),
        ({"grounding_weight": 0.5}, "grounding_weight=0.5 is not used by grounding=none"),
        ({"method": "sft"}, "mode=think does not go with method=sft"),
        ({"lora_rank": -1}, "lora_rank=-1 must not be negative"),
        ({"lora_rank": 8, "lora_dropout": 0.1}, "lora_dropout=0.1 must be 0: .*without dropout"),
        ({"lora_alpha": 16}, "lora_alpha is not used without adapters: give lora_rank"),
        ({"lora_targets": ("vision",)}, "lora_targets is not used without adapters"),
        ({"merge_adapters": True}, "merge_adapters is not used without adapters"),
        ({"lora_rank": 8, "lora_alpha": 0}, "lora_alpha=0 must be at least 1"),
        ({"lora_rank": 8, "lora_targets": ()}, "lora_targets is empty: name at least one"),
        (
            {"lora_rank": 8, "lora_targets": ("text", "vision"), "freeze_vision": True},
            "freeze_vision keeps the vision tower .* lora_targets=vision puts adapters there",
        ),
        (
            {"lora_rank": 8, "lora_targets": ("all-linear",), "freeze_vision": True},
            "lora_targets=all-linear puts adapters there: leave one of them away",
        ),
    ],
)
def test_the_error_says_what_was_wrong(settings, message):
    with pytest.raises(ValueError, match=message):
        GRPOConfig(**settings)


def test_adapters_are_scaled_by_twice_their_rank_unless_alpha_is_given():
    assert GRPOConfig().lora is None
    assert GRPOConfig(lora_rank=8).lora == LoraSettings(8, 16, ("text",))
    asked = GRPOConfig(lora_rank=8, lora_alpha=4, lora_targets=("q_proj", "vision"))
    assert asked.lora == LoraSettings(8, 4, ("q_proj", "vision"))
    assert GRPOConfig(lora_rank=8, freeze_vision=True).lora  # it is frozen anyway


def test_adapters_have_ten_times_the_learning_rate_unless_one_is_given():
    given = {"model": "m", "train_json": ("x.json",), "lora_rank": 8}
    assert resolve_config(given).learning_rate == pytest.approx(1e-5)
    assert resolve_config(given | {"method": "sft"}).learning_rate == pytest.approx(1e-4)
    assert resolve_config(given | {"learning_rate": 3e-6}).learning_rate == 3e-6
    assert resolve_config(given | {"lora_rank": 0}).learning_rate == 1e-6


def test_a_reference_elsewhere_means_nothing_to_a_run_with_adapters():
    given = {"model": "m", "train_json": ("x.json",), "lora_rank": 8, "reference_device": "cpu"}
    (warning,) = resolve(given, None).warnings
    assert "the reference is the policy itself" in warning


def test_all_problems_are_reported_at_once():
    with pytest.raises(ValueError) as error:
        GRPOConfig(group_size=1, temperature=0.0, lr_schedule="step")
    assert str(error.value).count("\n  - ") == 3


def test_every_setting_is_a_flag_with_help_and_every_flag_is_in_a_group():
    parser = FlagParser(prog="train.py")
    add_config_flags(parser)
    text = parser.format_help()
    for name in GRPOConfig.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in text, name
    assert all(heading in text for heading in SECTIONS)
    assert all("|".join(choices) in text for choices in CHOICES.values())


def test_only_what_stands_on_the_command_line_counts_as_given():
    assert given("--group-size", "6", "--rewards", "accuracy", "--mask-truncated") == {
        "group_size": 6,
        "rewards": ["accuracy"],
        "mask_truncated": True,
    }


def test_a_wrong_number_ends_with_one_message_and_status_2(capsys):
    with pytest.raises(SystemExit) as stop:
        given("--group-size", "many")
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: argument --group-size: invalid int value")


def test_an_unknown_flag_ends_with_status_2(capsys):
    with pytest.raises(SystemExit) as stop:
        given("--num-generations", "4")
    assert stop.value.code == 2
    assert "--num-generations" in capsys.readouterr().err


def test_without_a_model_the_embedded_default_is_loaded_and_flags_go_on_top():
    shipped, _ = read_toml(embedded_default())
    config = resolve_config({"max_steps": 7}, None)
    assert (config.model, config.train_json, config.max_steps) == ("tiny", ("phantoms",), 7)
    assert config.learning_rate == shipped["learning_rate"] != GRPOConfig().learning_rate


def test_with_a_model_the_defaults_are_the_papers():
    config = resolve_config({"model": "m", "train_json": ("t.json",)}, None)
    assert config == GRPOConfig(model="m", train_json=("t.json",))
    assert (config.prompts_per_step, config.group_size, config.learning_rate) == (4, 4, 1e-6)
    assert (config.beta, config.max_completion_tokens, config.image_size) == (0.04, 256, 384)


def test_model_and_data_defaults_are_never_mixed():
    with pytest.raises(ValueError, match="--model m without --train-json: add the training file"):
        resolve_config({"model": "m"}, None)
    with pytest.raises(ValueError, match="--train-json t without --model: add a Qwen2-VL"):
        resolve_config({"train_json": ("t",)}, None)


def test_a_config_file_lies_between_the_default_and_the_flags(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("max-steps = 5\nbeta = 0\nprompts_per_step = 3\n")
    config = resolve_config({"prompts_per_step": 2}, str(file))
    assert (config.max_steps, config.beta, config.prompts_per_step) == (5, 0.0, 2)
    assert config.model == "tiny"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grup_size = 4", "unknown key 'grup_size': is it group_size?"),
        ("group-size = 4\ngroup_size = 8", "group_size is given twice, with dashes and without"),
        ("group_size = 4.5", "group_size=4.5 has the wrong type"),
        ("rewards = 'accuracy'", "rewards='accuracy' has the wrong type"),
        ("mask_truncated = 1", "mask_truncated=1 has the wrong type"),
        ("epochs = true", "epochs=True has the wrong type"),
        ("max_steps = 'x'", "max_steps='x' has the wrong type: see --max-steps in --help"),
        ("group_size =", "is not TOML"),
        ("sft = 3", r"\[sft\] must be a table"),
    ],
)
def test_a_wrong_config_file_is_refused_in_words(tmp_path, text, message):
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        resolve_config({}, str(file))


def test_a_missing_config_file_is_named():
    with pytest.raises(ValueError, match=r"config nowhere\.toml cannot be read"):
        resolve_config({}, "nowhere.toml")


def test_sft_has_its_own_mode_and_learning_rate():
    config = resolve_config({"method": "sft", "model": "m", "train_json": ("t",)}, None)
    assert (config.mode, config.learning_rate) == ("no_think", 1e-5)


def test_sft_on_the_embedded_default_drops_what_only_grpo_uses():
    _, sft = read_toml(embedded_default())
    config = resolve_config({"method": "sft"}, None)
    assert (config.mode, config.learning_rate) == ("no_think", sft["learning_rate"])
    assert config.group_size == GRPOConfig().group_size


def test_sft_refuses_flags_of_sampling_rewards_and_objective_by_name():
    with pytest.raises(ValueError, match="--group-size, --beta: not used by --method sft"):
        resolve_config({"method": "sft", "group_size": 4, "beta": 0.1}, None)
    with pytest.raises(ValueError, match="--grounding: not used by --method sft"):
        resolve_config({"method": "sft", "grounding": "scale"}, None)


def test_sft_refuses_another_mode():
    with pytest.raises(ValueError, match="mode=think does not go with method=sft"):
        resolve_config({"method": "sft", "mode": "think"}, None)


def test_a_run_made_on_a_gpu_can_go_on_without_its_kernels():
    stored = asdict(GRPOConfig(logprob_backend="cuda", device="cuda:0"))
    given = {"device": "cpu", "logprob_backend": "torch"}
    assert resumed_config(stored, given).logprob_backend == "torch"


def test_resuming_keeps_the_runs_settings_and_takes_only_harmless_flags():
    stored = {"model": "m", "train_json": ["t"], "group_size": 6, "max_steps": 10}
    config = resumed_config(stored, {"max_steps": 20, "device": "cpu"})
    assert (config.group_size, config.max_steps, config.train_json) == (6, 20, ("t",))
    assert not resumed_config(stored, {"eval_blank": False}).eval_blank
    with pytest.raises(ValueError, match="--grounding cannot change when a run is resumed"):
        resumed_config(stored, {"grounding": "scale"})
    with pytest.raises(ValueError, match="--learning-rate, --seed cannot change when a run is"):
        resumed_config(stored, {"learning_rate": 1e-3, "seed": 4, "max_steps": 3})
    supervised = stored | {"method": "sft", "mode": "no_think", "beta": 0.0}
    with pytest.raises(ValueError, match="--reference-device: not used by --method sft"):
        resumed_config(supervised, {"reference_device": "cpu", "max_steps": 20})


def test_a_length_given_above_replaces_the_other_one_below(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("max_steps = 5\n")
    config = resolve_config({"epochs": 2.0}, str(file))
    assert (config.epochs, config.max_steps) == (2.0, 0)
    assert resolve_config({"epochs": 2.0}, None).max_steps == 0  # over the embedded default's
    with pytest.raises(ValueError, match="both say how long the run is: give one of them"):
        resolve_config({"epochs": 2.0, "max_steps": 3}, None)


def test_one_config_file_serves_both_methods():
    file = str(embedded_default())
    config = resolve_config({"method": "sft", "model": "m", "train_json": ["t"]}, file)
    assert (config.mode, config.method) == ("no_think", "sft")
    assert config.learning_rate == read_toml(file)[1]["learning_rate"]


def test_lists_become_tuples_so_that_frozen_means_frozen():
    config = resolve_config(given("--model", "m", "--train-json", "a", "b"), None)
    assert config.train_json == ("a", "b")


def test_the_modes_are_those_of_the_rewards():
    assert CHOICES["mode"] == tuple(MODES)


def test_a_negative_number_is_a_value_however_it_is_written():
    assert given("--reward-weights", "-1e-3", "1")["reward_weights"] == [-1e-3, 1.0]


def test_local_paths_become_absolute_and_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.json").write_text("[]")
    (tmp_path / "m").mkdir()
    (tmp_path / "r.py").write_text("")
    config = GRPOConfig(
        model="m",
        train_json=("t.json", "phantoms:CT"),
        image_root="m",
        rewards=("r.py:f", "format"),
    )
    found = with_absolute_paths(config)
    assert found.model == found.image_root == str(tmp_path / "m")
    assert found.train_json == (str(tmp_path / "t.json"), "phantoms:CT")
    assert found.rewards == (f"{tmp_path / 'r.py'}:f", "format")
    assert with_absolute_paths(GRPOConfig(model="Qwen/Qwen2-VL-2B-Instruct")).model.startswith("Qw")


def test_flags_are_not_abbreviated(capsys):
    with pytest.raises(SystemExit):
        given("--lr", "1e-3")
    assert "--lr" in capsys.readouterr().err


def test_on_another_device_what_the_old_one_resolved_is_resolved_anew():
    stored = {"device": "cuda:0", "reference_device": "cuda:0", "gradient_checkpointing": True}
    config = resumed_config(stored | {"dtype": "bfloat16"}, {"device": "cpu"})
    assert (config.reference_device, config.gradient_checkpointing) == ("auto", None)
    assert config.dtype == "bfloat16"  # it changes what is learned


def test_the_steps_of_an_epoch_are_rounded_up_and_max_steps_overrides():
    assert GRPOConfig(prompts_per_step=4).total_steps(10) == 3
    assert GRPOConfig(prompts_per_step=4, epochs=0.5).total_steps(10) == 2
    assert GRPOConfig(prompts_per_step=4, max_steps=7).total_steps(10) == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_json": ()}, "train_json is empty: name at least one file"),
        ({"device": "gpu"}, "device 'gpu' is not there: use one of cpu, cuda, cuda:N, auto"),
        ({"reference_device": "cuda:x"}, "reference_device 'cuda:x' is not there"),
    ],
)
def test_sources_and_devices_are_looked_at_before_anything_is_loaded(settings, message):
    with pytest.raises(ValueError, match=message):
        GRPOConfig(**settings)


def test_functions_handed_in_come_behind_those_that_are_named():
    config = GRPOConfig(rewards=("short", "accuracy"))
    assert with_rewards(config, ["long", "short"]).rewards == ("short", "accuracy", "long")
    assert GRPOConfig(prompts_per_step=3, group_size=4).completions_per_step == 12
    sft = GRPOConfig(method="sft", mode="no_think", beta=0.0)
    assert with_rewards(sft, []) == sft
    with pytest.raises(ValueError, match=r"functions \(long\) are not used by method=sft"):
        with_rewards(sft, ["long"])


def test_the_time_between_checkpoints_may_be_given_as_steps_or_as_time(tmp_path):
    assert given("--save-every", "30m") == {"save_every": "30m"}
    assert given("--save-every", "50") == {"save_every": 50}
    file = tmp_path / "run.toml"
    for text, value in (('"2h"', "2h"), ("7", 7)):
        file.write_text(f"save_every = {text}\n")
        assert resolve_config({}, str(file)).save_every == value
    file.write_text("save_every = 1.5\n")
    with pytest.raises(ValueError, match=r"save_every=1\.5 has the wrong type"):
        resolve_config({}, str(file))


def test_a_setting_says_itself_which_method_alone_uses_it():
    only = {item.name: item.metadata["only"] for item in fields(GRPOConfig)}
    assert {*only.values()} == {None, ("grpo",), ("grpo", "exact")}
    assert only["group_size"] == ("grpo",) and only["learning_rate"] is None
    for name in [name for name, kinds in only.items() if kinds]:
        with pytest.raises(ValueError, match=f"{flag_of(name)}: not used by --method sft"):
            refuse_unused({name: 1}, "sft")
        refuse_unused({name: 1}, "grpo")


@pytest.mark.parametrize(
    "settings",
    [
        {"dynamic_sampling": 1.5},
        {"reference_sync": True},
        {"ratio_cap": "4"},
        {"ratio_cap": 10**400},
        {"beta": None},
        {"exact_no_think": "yes", "mode": "no_think"},
        {"rewards": "accuracy"},
        {"reward_weights": ("1", "1")},
        {"surrogate": ("clip",)},
    ],
)
def test_a_value_that_no_flag_could_give_is_refused_in_python_too(settings):
    (name, value), *_ = settings.items()
    told = re.escape(f"{name}={value!r} has the wrong type: see {flag_of(name)} in --help")
    with pytest.raises(ValueError, match=told):
        GRPOConfig(**settings)


def test_whole_numbers_and_lists_are_good_from_python():
    GRPOConfig(beta=0, reward_weights=[1, 2], ratio_cap=4, train_json=["phantoms"])
