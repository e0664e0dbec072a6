"""How a checkpoint is asked: flags over groupwise.json over defaults, with origins and warnings."""

import json
import re
import tomllib

import pytest

from data.prompts import TEMPLATES
from evaluation.asking.settings import describe, resolve_settings
from evaluation.asking.shared_flags import AskingFlags
from grpo.settings.config import GRPOConfig
from grpo.settings.toml_file import embedded_default
from models.files import EMBEDDED

OWN_TEMPLATE = "{options}\n{question} Answer with a letter."
CARD = {
    "mode": "think_after",
    "image_size": 112,
    "prompt_template": OWN_TEMPLATE,
    "max_completion_tokens": 77,
    "method": "grpo",
    "step": 100,
}


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "groupwise.json").write_text(json.dumps(CARD))
    return tmp_path


def test_a_checkpoint_is_asked_as_it_was_trained(checkpoint):
    settings = resolve_settings(checkpoint)
    assert settings.to_json() == {
        **{name: CARD[name] for name in CARD if name not in ("method", "step")},
        "origins": dict.fromkeys(settings.origins, "groupwise.json"),
    }
    assert settings.warnings == ()


def test_a_flag_wins_and_is_warned_about_only_where_it_differs(checkpoint):
    given = AskingFlags(image_size=384, max_completion_tokens=77)
    settings = resolve_settings(checkpoint, given)
    assert (settings.image_size, settings.max_completion_tokens) == (384, 77)
    assert settings.origins["image_size"] == settings.origins["max_completion_tokens"] == "flag"
    assert settings.origins["mode"] == "groupwise.json"
    assert settings.warnings == (
        "--image-size 384 differs from the 112 the checkpoint was trained with (groupwise.json)",
    )


def test_another_mode_is_asked_for_in_its_own_words(checkpoint):
    # the checkpoint's template asks for think_after's tags, and think's would be scored
    settings = resolve_settings(checkpoint, AskingFlags(mode="think"))
    assert settings.prompt_template == TEMPLATES["think"]
    assert settings.origins["prompt_template"] == "think's own"
    assert settings.warnings[0].startswith("--mode think differs from the think_after")


def test_a_template_file_wins_and_is_warned_about_when_its_text_differs(checkpoint, tmp_path):
    same, other = tmp_path / "same.txt", tmp_path / "other.txt"
    same.write_text(OWN_TEMPLATE)
    other.write_text("{question}\n{options}")
    settings = resolve_settings(checkpoint, AskingFlags(prompt_template=str(same)))
    assert (settings.prompt_template, settings.warnings) == (OWN_TEMPLATE, ())
    settings = resolve_settings(checkpoint, AskingFlags(prompt_template=str(other)))
    assert settings.prompt_template == "{question}\n{options}"
    assert "--prompt-template differs from the template the checkpoint" in settings.warnings[0]


def test_a_model_that_is_not_ours_gets_train_pys_defaults(tmp_path):
    settings, config = resolve_settings(tmp_path), GRPOConfig()
    assert settings.mode == config.mode
    assert settings.image_size == config.image_size == 384
    assert settings.max_completion_tokens == config.max_completion_tokens == 256
    assert settings.prompt_template == TEMPLATES[config.mode]
    assert settings.origins["image_size"] == "train.py's default"


def test_the_embedded_model_gets_the_shipped_settings():
    shipped = tomllib.loads(embedded_default().read_text())
    settings = resolve_settings(EMBEDDED["tiny"])
    assert settings.image_size == shipped["image_size"] != GRPOConfig().image_size
    assert settings.mode == shipped.get("mode", GRPOConfig().mode)
    assert settings.max_completion_tokens == shipped["max_completion_tokens"]
    assert settings.origins["image_size"] == "configs/phantoms.toml"


def test_what_groupwise_json_does_not_say_comes_from_the_defaults(tmp_path):
    (tmp_path / "groupwise.json").write_text('{"mode": "no_think"}')
    settings = resolve_settings(tmp_path)
    assert (settings.mode, settings.image_size) == ("no_think", 384)
    assert settings.prompt_template == TEMPLATES["no_think"]


def test_every_value_is_printed_with_its_origin(checkpoint):
    text = describe("runs/x", resolve_settings(checkpoint, AskingFlags(image_size=0)))
    lines = [re.split(r"\s{2,}", line) for line in text.splitlines()]
    assert lines == [
        ["model", "runs/x"],
        ["mode", "think_after", "(groupwise.json)"],
        ["image size", "the processor's", "(flag)"],
        ["prompt", f"{len(OWN_TEMPLATE)} characters", "(groupwise.json)"],
        ["max tokens", "77", "(groupwise.json)"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "groupwise.json cannot be read"),
        ("[1]", "holds list, not an object"),
        ('{"image_size": "84"}', "image_size is '84', not int"),
        ('{"max_completion_tokens": true}', "max_completion_tokens is True, not int"),
        ('{"mode": "thinking"}', "unknown mode 'thinking'"),
        ('{"mode": "think", "prompt_template": "{question}"}', r"\{options\} stands 0 times"),
    ],
)
def test_a_damaged_groupwise_json_is_named(tmp_path, text, message):
    (tmp_path / "groupwise.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        resolve_settings(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mode": "Think"}, "unknown mode 'Think'"),
        ({"image_size": -1}, "--image-size -1 must be at least 0"),
        ({"max_completion_tokens": 0}, "--max-completion-tokens 0 must be at least 1"),
        ({"prompt_template": "/nowhere/t.txt"}, "prompt template /nowhere/t.txt cannot be read"),
    ],
)
def test_a_wrong_flag_is_named(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        resolve_settings(tmp_path, AskingFlags(**given))
