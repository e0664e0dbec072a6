"""Runs of --exact-no-think: one line of metrics a step, no rollouts, resumed to the same bytes."""

import json
import shutil

import pytest

import train
from grpo.settings import resolve_config
from models.checkpoint.manifest import read_manifest

pytestmark = pytest.mark.command

SETTINGS = {
    "exact_no_think": True,
    "mode": "no_think",
    "train_json": ["phantoms:CT", "phantoms:yes_no:CT"],
    "eval_json": [],
    "model": "tiny",
    "image_size": 84,
    "max_steps": 4,
    "prompts_per_step": 3,
    "max_completion_tokens": 24,
    "learning_rate": 4e-4,
    "save_every": 2,
    "device": "cpu",
}


def steps(run) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_goes_on_to_the_same_bytes(tmp_path):
    whole, again = tmp_path / "whole", tmp_path / "again"
    train.run(resolve_config({**SETTINGS, "output_dir": str(whole)}))
    shutil.copytree(whole, again)
    train.resume(again, resume_from="step-000002")
    files = [read_manifest(run / "checkpoints/step-000004").files for run in (whole, again)]
    assert files[0] == files[1] and "trainer/optimizer.safetensors" in files[0]
    first, *_, last = steps(whole)
    timeless = [
        [{k: row[k] for k in row if "time/" not in k and "per_second" not in k} for row in rows]
        for rows in (steps(whole), steps(again))
    ]
    assert timeless[0] == timeless[1] and len(timeless[1]) == 4

    assert first["kl"] == 0 and last["kl"] > 0, "the reference is where the run began"
    for row in (first, last):
        assert 0 < row["exact/mass_outside"] < 1 and row["exact/answer_entropy"] > 0
        assert 0 < row["reward/accuracy"] < 1 and row["bad_steps"] == 0
    rollouts = whole / "rollouts.jsonl"
    assert not rollouts.exists() or not rollouts.read_text()
    assert json.loads((whole / "run.json").read_text())["config"]["exact_no_think"] is True
