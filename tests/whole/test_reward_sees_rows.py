"""A user's reward sees the whole row: its own fields, form, accepted texts and opened images."""

import json

import pytest

import train
from tests.models.nano import random_image, write_checkpoint

pytestmark = pytest.mark.command

REWARDS = """
from data.images import open_images

def seen(completion, example, mode):
    (image,) = open_images(example)
    assert example.form == "text" and example.accepted == ("pulmo",)
    return image.size[0] + example.fields["nested"]["n"]

async def weighed(completions, examples, mode, weight):
    return [weight * example.fields["x"] for example in examples]
"""


def test_both_forms_of_a_reward_read_fields_and_open_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random_image(60, 40, seed=0).save("a.png")
    write_checkpoint(tmp_path / "model", "qwen2_vl")
    row = {"image": "a.png", "question": "Which organ?", "answer": "lung", "accepted": ["pulmo"]}
    rows = [row | {"question": f"Which organ, {n}?", "nested": {"n": 5}, "x": 1.5} for n in (1, 2)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "own.py").write_text(REWARDS)
    (tmp_path / "own.toml").write_text("[weighed]\nweight = 2\n")
    flags = ["--model", "model", "--train-json", "rows.json", "--eval-json", "--image-root", "."]
    flags += ["--rewards", "own.py:seen", "own.py:weighed", "--reward-arguments", "own.toml"]
    flags += ["--image-size", "56", "--prompts-per-step", "2", "--group-size", "2"]
    flags += ["--max-completion-tokens", "4", "--max-steps", "1", "--device", "cpu"]
    assert train.main([*flags, "--output-dir", "run"]) == 0
    (metrics,) = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    assert (metrics["reward/seen"], metrics["reward/weighed"]) == (45, 3)
