"""What the command line's settings say of themselves before a run begins."""

from dataclasses import fields

import pytest

from grpo.settings.choices import CHOICES
from grpo.settings.command_line import (
    config_of,
    origins_of,
    read_command_line,
    say_shipped,
    train_parser,
)
from grpo.settings.config import GRPOConfig
from grpo.settings.resolve import resolve
from grpo.settings.sections.objective import ObjectiveSettings


def test_what_was_not_given_but_taken_is_printed(capsys):
    config = config_of({}, None)
    out = capsys.readouterr().out
    assert config.model == "tiny" and config.train_json == ("phantoms",)
    assert "the embedded default: model tiny, data phantoms" in out
    assert "taken from configs/phantoms.toml, since not given: " in out
    assert f"image_size {config.image_size}" in " ".join(out.split())


def test_nothing_is_said_of_a_run_whose_folder_is_refused(capsys):
    def refuse(output_dir, model):
        raise ValueError(f"{output_dir} of {model} is in use")

    with pytest.raises(ValueError, match="mine of tiny is in use"):
        config_of({"output_dir": "mine"}, None, refuse)
    assert capsys.readouterr().out == ""


def test_a_shipped_file_is_said_and_ones_own_comes_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config_of({}, "phantoms.toml")
    assert "phantoms.toml: no such file here, the shipped one is taken: " in capsys.readouterr().out
    (tmp_path / "phantoms.toml").write_text('model = "tiny"\ntrain_json = ["phantoms"]\n')
    say_shipped("phantoms.toml")
    assert capsys.readouterr().out == ""


def test_what_a_file_has_chosen_is_printed_but_where_a_flag_says_otherwise(tmp_path, capsys):
    file = tmp_path / "mine.toml"
    file.write_text('surrogate = "sapo"\nbeta = 0.0\nnum_iterations = 2\n')
    config_of({"num_iterations": 3}, str(file))
    out = " ".join(capsys.readouterr().out.split())
    assert f"from --config {file}: surrogate sapo, beta 0.0" in out
    assert "num_iterations" not in out
    # of a method that does not use them, nothing is said
    file.write_text('surrogate = "sapo"\nseed = 3\n')
    config_of({"method": "sft"}, str(file))
    assert f"from --config {file}: seed 3" in " ".join(capsys.readouterr().out.split())
    config_of({"seed": 4, "surrogate": "cispo", "epsilon_high": 2.0}, str(file))
    assert "from --config" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "warning"),
    [
        ({"eval_every": 5, "eval_limit": 3}, "--eval-every, --eval-limit: nothing is evaluated in"),
        ({"beta": 0.0, "reference_device": "cpu"}, "--reference-device: without a KL term (--beta"),
        ({"beta": 0.1, "reference_device": "cpu"}, None),
        ({"beta": 0.0, "reference_device": "auto"}, None),
        ({"eval_json": ("e.json",), "eval_every": 5}, None),
    ],
)
def test_flags_that_do_nothing_beside_the_others_are_warned_about(flags, warning, capsys):
    given = {"model": "Qwen/Qwen2-VL-2B-Instruct", "train_json": ("a.json",), **flags}
    config_of(given, None)
    err = capsys.readouterr().err
    assert (err == "") if warning is None else err.startswith(f"warning: {warning}")


def test_tiny_on_real_data_takes_how_it_is_asked_and_nothing_else():
    resolved = resolve({"model": "tiny", "train_json": ("a.json",)}, None)
    taken = resolved.taken["configs/phantoms.toml"]
    assert {"mode", "image_size", "max_completion_tokens"} >= set(taken) != set()
    assert not resolved.by_default


def test_the_parser_knows_configs_runs_and_protocols():
    flags = ["--config", "a.toml", "--resume", "runs/mine", "--protocol", "p.toml"]
    parsed = vars(train_parser().parse_args(flags))
    assert {name: str(value) for name, value in parsed.items() if value is not None} == {
        **{"config": "a.toml", "resume": "runs/mine", "protocol": "p.toml"}
    }


def test_a_protocols_flags_are_left_to_it():
    asked = read_command_line(["--protocol", "protocol_smoke.toml", "--resume", "run"])
    assert asked.protocol == "protocol_smoke.toml" and asked.resume is None
    assert asked.given == {"resume": "run"}  # which it refuses by name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume-from", "step-000080"], "give --resume RUN_DIR too"),
        (["--resume", "run", "--config", "a.toml"], "--config cannot be given with --resume"),
        (["--jobs", "2"], "--jobs 2 is of a protocol: give --protocol"),
        (["--dry-run", "--trial-steps", "-1"], "--trial-steps -1 must not be negative"),
        (["--trial-steps", "2"], "of a dry run: give --dry-run too"),
        (["--check-data", "--dry-run"], "give one of the two"),
        (["--check-data", "--resume", "auto"], "--check-data looks at one run: with it give"),
        (["--dry-run", "--resume", "auto", "--output-dir", "a"], "--dry-run looks at one run"),
        (
            ["--resume", "auto", "--output-dir", "a", "--resume-from", "step-000080"],
            "with --resume-from give --resume RUN_DIR",
        ),
        (["--resume", "auto"], "--resume auto goes on in --output-dir: give that too"),
    ],
)
def test_flags_that_say_nothing_beside_each_other_are_a_mistake(words, message):
    with pytest.raises(ValueError, match=message):
        read_command_line(words).check_together()


def test_a_run_that_goes_on_is_asked_for_with_its_checkpoint_and_what_may_change():
    asked = read_command_line(
        ["--resume", "run", "--resume-from", "step-000080", "--trust-reward-file", "--max-steps=9"]
    )
    asked.check_together()
    assert (asked.resume, asked.resume_from, asked.trusted) == ("run", "step-000080", True)
    assert asked.given == {"max_steps": 9} and asked.config is None


def test_reward_code_of_a_file_of_settings_is_asked_about_and_that_of_flags_is_not(
    tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "own.py").write_text("def length(completion, example, mode): return 1.0\n")
    named = f"{tmp_path / 'own.py'}:length"
    (tmp_path / "own.toml").write_text(f'rewards = ["{named}"]\n')
    of_file = ["--config", str(tmp_path / "own.toml")]
    with pytest.raises(ValueError, match="add --trust-reward-file"):
        read_command_line(of_file).fresh_config(lambda *_: None)
    trusted = read_command_line([*of_file, "--trust-reward-file"]).fresh_config(lambda *_: None)
    typed = read_command_line(["--rewards", named]).fresh_config(lambda *_: None)
    assert trusted.rewards == typed.rewards == (named,)
    with pytest.raises(ValueError, match="no file names a reward here"):
        read_command_line(["--trust-reward-file"]).fresh_config(lambda *_: None)


def test_a_settings_origin_is_the_flag_before_the_file_before_what_was_taken(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("beta = 0.2\nseed = 3\n")
    asked = read_command_line(["--config", str(file), "--seed", "4"])
    config = asked.fresh_config(lambda *_: None)
    origins = origins_of(asked, config)
    assert (config.beta, origins["beta"]) == (0.2, f"--config {file}")
    assert (config.seed, origins["seed"]) == (4, "given")
    assert origins["image_size"] == "configs/phantoms.toml" and "epsilon_low" not in origins


def test_the_settings_of_a_run_that_goes_on_are_its_own_but_for_what_is_given():
    asked = read_command_line(["--resume", "run", "--max-steps", "9"])
    origins = origins_of(asked, GRPOConfig(model="tiny", train_json=("phantoms",)))
    assert origins["max_steps"] == "given" and origins["beta"] == origins["seed"] == "run.json"


def test_phantoms_that_are_named_bring_their_held_out_questions_and_the_model():
    config = config_of({"train_json": ("phantoms:ct",)}, None)
    assert config.model == "tiny" and config.eval_json == ("phantoms:ct",)


def test_help_says_every_default_and_what_switches_a_number_off():
    said = {action.dest: action.help for action in train_parser()._actions}
    for item in fields(GRPOConfig):
        if item.default in (None, "", (), "auto"):
            continue
        shown = item.default
        if isinstance(shown, bool):
            shown = "on" if shown else "off"
        shown = " ".join(shown) if isinstance(shown, tuple) else shown
        assert f"default: {shown}" in said[item.name], item.name
    for item in fields(ObjectiveSettings):
        if isinstance(item.default, float | int) and item.default in (0, 1):
            off = f"{item.default:g}: " in said[item.name]
            assert off or isinstance(item.default, bool) or item.name == "beta_final", item.name


def test_help_explains_each_name_of_a_choice_of_the_objective():
    said = {action.dest: action.help for action in train_parser()._actions}
    for name in ("surrogate", "ratio_level", "loss_normalization", "advantage_scale",
                 "advantage_baseline", "reward_aggregation", "kl_estimator"):  # fmt: skip
        for choice in CHOICES[name]:
            assert f"{choice}: " in said[name], f"--{name}: {choice}"
