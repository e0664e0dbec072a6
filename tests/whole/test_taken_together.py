"""What belongs together is taken together: the embedded model and data, a checkpoint and its card.

Real data and a model are still never mixed with defaults of the other:
tests/grpo/settings/test_config.py.
"""

import json
from pathlib import Path

import pytest

import evaluate
import train
from data.prompts import TEMPLATES
from grpo.settings.config import GRPOConfig
from grpo.settings.resolve import resolve, resolve_config, untrained_settings
from grpo.settings.toml_file import embedded_default, read_toml

SHIPPED, SFT = read_toml(embedded_default())
NAMES = ("model", "train_json", "eval_json")
PHANTOMS = {"model": "tiny", "train_json": ("phantoms:CT",)}
TEMPLATE = "My question: {question}\nMy options:\n{options}\nthink, then <answer>X</answer>"


def write_card(folder: Path, **changed) -> str:
    """A checkpoint's directory with nothing but its card."""
    card = {"mode": "no_think", "image_size": 56, "max_completion_tokens": 9, "method": "grpo"}
    folder.mkdir()
    (folder / "groupwise.json").write_text(json.dumps(card | changed))
    return str(folder)


def said_of(resolved) -> tuple[str, ...]:
    """Return all warnings before such a run."""
    return (*untrained_settings(resolved.config), *resolved.warnings)


@pytest.mark.parametrize("sources", [["phantoms"], ["phantoms:CT", "phantoms:Lesion Grading"]])
def test_tiny_on_any_phantoms_takes_the_settings_of_the_embedded_default(sources):
    config = resolve_config({"model": "tiny", "train_json": sources}, None)
    for name in SHIPPED.keys() - set(NAMES):
        assert getattr(config, name) == SHIPPED[name], name
    assert config.eval_json == ()  # who names the data says what is held out


def test_phantoms_alone_take_the_embedded_model_and_their_own_held_out_questions():
    resolved = resolve({"train_json": ["phantoms:CT"], "group_size": 4}, None)
    config = resolved.config
    assert (config.model, config.eval_json, config.group_size) == ("tiny", ("phantoms:CT",), 4)
    assert config.learning_rate == SHIPPED["learning_rate"] and not resolved.by_default
    assert "group_size" not in resolved.taken["configs/phantoms.toml"]
    assert resolve_config({"model": "tiny"}, None) == resolve_config({}, None)


def test_the_baseline_takes_its_own_table():
    config = resolve_config(PHANTOMS | {"method": "sft"}, None)
    assert (config.learning_rate, config.mode) == (SFT["learning_rate"], "no_think")
    assert config.prompts_per_step == SHIPPED["prompts_per_step"]


def test_flags_and_a_config_file_go_on_top(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("image_size = 28\nepochs = 2\n")
    config = resolve_config(PHANTOMS | {"beta": 0.5}, str(file))
    assert (config.image_size, config.beta, config.epochs, config.max_steps) == (28, 0.5, 2.0, 0)
    assert config.learning_rate == SHIPPED["learning_rate"]


def test_tiny_on_real_data_is_asked_as_it_was_taught_and_trained_as_a_real_model():
    config = resolve_config({"model": "tiny", "train_json": ["CT_train.json"]}, None)
    assert (config.image_size, config.max_completion_tokens) == (84, 24)
    assert config.learning_rate == GRPOConfig().learning_rate


@pytest.mark.parametrize("sources", [["CT_train.json"], ["phantoms", "CT_train.json"]])
def test_with_real_data_among_them_a_model_must_be_named(sources):
    with pytest.raises(ValueError, match="without --model: add a Qwen2-VL"):
        resolve_config({"train_json": sources}, None)


def test_a_checkpoint_brings_how_it_was_trained(tmp_path):
    model = write_card(tmp_path / "step")
    resolved = resolve({"model": model, "train_json": ["t.json"]}, None)
    config = resolved.config
    assert (config.mode, config.image_size, config.max_completion_tokens) == ("no_think", 56, 9)
    assert config.learning_rate == GRPOConfig().learning_rate and said_of(resolved) == ()
    taken = resolved.taken[f"{model}/groupwise.json"]
    assert set(taken) == {"mode", "image_size", "max_completion_tokens"}


def test_a_flag_that_differs_from_the_checkpoint_wins_and_is_warned_about(tmp_path):
    model = write_card(tmp_path / "step")
    given = {"model": model, "train_json": ["t.json"], "image_size": 384, "mode": "no_think"}
    resolved = resolve(given, None)
    assert resolved.config.image_size == 384
    (warning,) = said_of(resolved)
    assert warning.startswith(
        "--image-size 384 differs from the 56 the checkpoint was trained with"
    )


def test_a_thinking_checkpoint_can_be_taught_bare_answers_and_it_is_said(tmp_path):
    model = write_card(tmp_path / "step", mode="think")
    resolved = resolve({"model": model, "train_json": ["t.json"], "method": "sft"}, None)
    assert (resolved.config.mode, resolved.config.image_size) == ("no_think", 56)
    assert any("no_think differs from the think" in warning for warning in said_of(resolved))


def test_a_checkpoint_trained_from_tiny_takes_the_embedded_settings_on_phantoms(tmp_path):
    model = write_card(tmp_path / "step", start_model="tiny")
    config = resolve_config({"model": model, "train_json": ["phantoms"]}, None)
    assert config.learning_rate == SHIPPED["learning_rate"]
    assert (config.image_size, config.mode) == (56, "no_think")  # its own card's
    other = resolve_config({"model": model, "train_json": ["t.json"]}, None)
    assert other.learning_rate == GRPOConfig().learning_rate


RUN = (
    *("--max-steps", "1", "--prompts-per-step", "1", "--group-size", "2", "--device", "cpu"),
    *("--no-eval-blank", "--eval-limit", "2"),
)


def stored(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_a_chain_of_runs_keeps_how_the_first_was_asked(tmp_path, capsys):
    template = tmp_path / "mine.txt"
    template.write_text(TEMPLATE)
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    flags = ("--train-json", "phantoms:CT", *RUN, "--image-size", "56")
    assert train.main([*flags, "--prompt-template", str(template), "--output-dir", str(first)]) == 0
    printed = " ".join(capsys.readouterr().out.split())  # lines are broken at the page's width
    assert "taken from configs/phantoms.toml, since not given: mode think" in printed

    checkpoint = first / "checkpoints" / "step-000001"
    again = ("--model", str(checkpoint), "--train-json", "phantoms:CT", *RUN)
    assert train.main([*again, "--output-dir", str(second)]) == 0
    printed = capsys.readouterr()
    words = " ".join(printed.out.split())
    assert f"taken from {checkpoint}/groupwise.json, since not given: mode think" in words
    assert (
        f"prompt: as in {checkpoint}/groupwise.json" in printed.out
        and "differs from" not in printed.err
    )
    config = stored(second)["config"]
    assert (config["image_size"], config["max_completion_tokens"]) == (56, 24)
    assert config["learning_rate"] == SHIPPED["learning_rate"]
    assert stored(second)["prompt_template"] == stored(first)["prompt_template"] == TEMPLATE

    card = json.loads((second / "checkpoints" / "step-000001" / "groupwise.json").read_text())
    assert card["start_model"] == "tiny"
    checkpoint = second / "checkpoints" / "step-000001"
    other = ("--model", str(checkpoint), "--train-json", "phantoms:CT", *RUN, "--mode", "no_think")
    assert train.main([*other, "--output-dir", str(third)]) == 0
    printed = capsys.readouterr()
    assert "warning: --mode no_think differs from the think" in printed.err
    assert stored(third)["prompt_template"] == TEMPLATES["no_think"]

    flags = ("--json", "phantoms:CT", "--limit", "2", "--device", "cpu")
    assert (
        evaluate.main(["--model", str(checkpoint), *flags, "--output-dir", str(tmp_path / "e")])
        == 0
    )
    origins = json.loads((tmp_path / "e" / "summary.json").read_text())["evaluation"]["origins"]
    assert set(origins.values()) == {"groupwise.json"}


def test_a_card_that_is_damaged_stops_the_run_before_it_begins(tmp_path, capsys):
    model = write_card(tmp_path / "step", image_size="large")
    assert train.main(["--model", model, "--train-json", "phantoms"]) == 2
    assert "image_size is 'large', not int: restore it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"eval_limit": 8}, "--eval-limit: nothing is evaluated in this run"),
        ({"eval_every": 2, "eval_limit": 8}, "--eval-every, --eval-limit: nothing is"),
        ({"eval_every": 2, "eval_limit": 8, "eval_json": ["phantoms:CT"]}, None),
        ({"eval_every": 0}, None),
        ({"reference_device": "cpu", "beta": 0.0}, "--reference-device: without a KL term"),
        ({"reference_device": "auto", "beta": 0.0}, None),
        ({"reference_device": "cpu", "beta": 0.02}, None),
    ],
)
def test_flags_that_do_nothing_are_warned_about(flags, said):
    resolved = resolve(PHANTOMS | flags, None)
    assert [text[: len(said or "")] for text in said_of(resolved)] == ([said] if said else [])
