"""groupwise.json: what is wrong with one is said with the file's name; another model has none."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from grpo.settings.card import card_for, card_of, card_warnings, read_card, start_model
from grpo.settings.config import GRPOConfig


def write(folder: Path, content: object) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "groupwise.json").write_text(text, encoding="utf-8")
    return folder


def test_a_card_is_read_as_it_was_written_and_a_model_without_one_has_none(tmp_path):
    assert read_card(tmp_path) == {}
    card = {"mode": "think", "image_size": 84, "max_completion_tokens": 24, "step": 7}
    assert read_card(write(tmp_path, card)) == card


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read .*restore it, or remove it and give --mode, --image-size"),
        ([1], "holds list, not an object: restore it"),
        ({"mode": 3}, "mode is 3, not str: restore it"),
        ({"image_size": "84"}, "image_size is '84', not int"),
        ({"max_completion_tokens": True}, "max_completion_tokens is True, not int"),
    ],
)
def test_a_damaged_card_is_named(tmp_path, content, message):
    with pytest.raises(ValueError, match=f"^{tmp_path / 'groupwise.json'}:? {message}"):
        read_card(write(tmp_path, content))


def test_only_a_directory_has_a_card_and_a_start_model_before_itself(tmp_path, monkeypatch):
    write(tmp_path, {"start_model": "tiny", "step": 3})
    assert start_model(str(tmp_path)) == "tiny"
    # a folder of that name is not what `tiny` means
    (tmp_path / "tiny").mkdir()
    write(tmp_path / "tiny", {"start_model": "other"})
    monkeypatch.chdir(tmp_path)
    assert card_of("tiny") == {} and start_model("tiny") == "tiny"
    assert start_model("Qwen/Qwen2-VL-2B-Instruct") == "Qwen/Qwen2-VL-2B-Instruct"


def test_a_setting_is_warned_about_only_where_both_sides_have_it_and_differ():
    card = {"mode": "think", "image_size": 84, "prompt_template": "{question} {options}"}
    same = {"mode": "think", "max_completion_tokens": 9}
    assert card_warnings(same, card) == ()
    size, template = card_warnings({"image_size": 56, "prompt_template": "{options}"}, card)
    assert size.startswith("--image-size 56 differs from the 84 the checkpoint was trained with")
    assert template.startswith("--prompt-template differs from the template the checkpoint")
    assert "{question}" not in template


def test_a_card_of_adapters_names_their_base_and_its_weights(monkeypatch):
    config = GRPOConfig(model="tiny", train_json=("phantoms",), mode="no_think")
    plain = card_for(config, "{question}")
    assert plain["start_model"] == "tiny" and plain["prompt_template"] == "{question}"
    assert plain["mode"] == "no_think" and "base_model" not in plain
    monkeypatch.setattr("models.checkpoint.adapter_files.weights_checksum", lambda _place: "a1")
    adapted = card_for(replace(config, lora_rank=4), "{question}")
    assert "a1" in adapted.values()
    assert {name for name in adapted if name not in plain and adapted[name] == "tiny"}
