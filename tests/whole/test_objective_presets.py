"""Every file of configs/objectives runs on the embedded default, by the name that docs give it."""

import json

import pytest

import train
from grpo.settings.toml_file import read_toml
from tests.places import ROOT

pytestmark = pytest.mark.command

PRESETS = sorted(path.stem for path in (ROOT / "configs/objectives").glob("*.toml"))
SMALL = ["--max-steps", "1", "--prompts-per-step", "4", "--eval-json"]
LISTED = "exact_no_think"  # the preset that samples nothing


@pytest.mark.parametrize("name", PRESETS)
def test_a_step_of_every_preset(name, tmp_path):
    out = tmp_path / "run"
    words = ["--config", f"configs/objectives/{name}.toml", "--output-dir", str(out)]
    words += [] if name == LISTED else ["--group-size", "4"]
    assert train.main([*words, *SMALL, "--device", "cpu"]) == 0
    config = json.loads((out / "run.json").read_text())["config"]
    preset, _ = read_toml(f"objectives/{name}")
    for setting, value in preset.items():
        assert config[setting] == value
    assert config["model"] == "tiny" and config["image_size"] == 84, "the embedded default's rest"
    (metrics,) = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    moved = metrics["grad_norm"] if name == LISTED else metrics["advantage/std"]
    assert moved > 0 and metrics["bad_steps"] == 0
