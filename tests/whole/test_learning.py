"""The whole thing learns: "it ran" is not "it learned"."""

import json

import pytest

import train

STEPS = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The default run's settings on one seed, cut short."""
    out = tmp_path_factory.mktemp("learning") / "run"
    flags = (
        "--max-steps",
        STEPS,
        "--eval-limit",
        200,
        "--learning-rate",
        5e-4,
        "--warmup-steps",
        2,
    )
    flags += ("--lr-schedule", "constant", "--device", "cpu", "--output-dir", out)
    assert train.main([str(flag) for flag in flags]) == 0
    with (out / "metrics.jsonl").open() as lines:
        return out, [json.loads(line) for line in lines]


def test_the_reward_passes_a_threshold(run):
    _, metrics = run
    first = sum(row["reward/accuracy"] for row in metrics[:2]) / 2
    last = sum(row["reward/accuracy"] for row in metrics[-2:]) / 2
    assert first < 0.60 < 0.70 < last


def test_greedy_accuracy_on_held_out_images_rises_with_it(run):
    out, _ = run
    before, after = (
        json.loads((out / "eval" / f"step-{step:06d}.json").read_text())["overall"]
        for step in (0, STEPS)
    )
    assert after["accuracy"] > before["accuracy"] + 0.1
    assert after["low"] > before["high"] - 0.05


def test_the_run_is_healthy(run):
    _, metrics = run
    for row in metrics:
        assert row["logprob_gap/max"] < 1e-4
        assert row["unique_completions"] > 1.5 / 8 and row["truncated"] < 0.1
        assert row["reward/format"] > 0.8
    assert metrics[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert 0 < metrics[-1]["kl"] < 1
