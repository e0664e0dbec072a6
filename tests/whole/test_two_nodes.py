"""`torchrun --nnodes 2`: two nodes that meet on loopback train what one process trains."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.places import ROOT
from tests.whole.torchrun import run_nodes

pytestmark = pytest.mark.slow

# Three groups: one node has two of them, the other one.
FLAGS = [
    *("--train-json", "phantoms:CT", "--image-size", "56", "--max-completion-tokens", "12"),
    *("--prompts-per-step", "3", "--group-size", "3", "--max-steps", "3", "--warmup-steps", "0"),
    *("--rewards", f"{Path(__file__).parent / 'own_rewards.py'}:ascii_count", "format"),
    *("--learning-rate", "1e-3", "--temperature", "1.2", "--save-every", "0"),
]
TIMES = ("time/", "samples_per_second", "tokens_per_second")
BAR = 1e-5


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    """The run directories of one process and of two nodes."""
    folder = tmp_path_factory.mktemp("nodes")
    alone, nodes = folder / "alone", folder / "nodes"
    words = [sys.executable, "train.py", *FLAGS, "--output-dir", str(alone)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = run_nodes(["train.py", *FLAGS, "--output-dir", nodes])
    first.check()
    second.check()
    # The process of rank 0 alone prints.
    assert sorted(["run directory" in node.out for node in (first, second)]) == [False, True]
    return alone, nodes


def test_ids_are_equal_in_the_same_order(runs):
    alone, nodes = ((run / "rollouts.jsonl").read_text(encoding="utf-8") for run in runs)
    ours, theirs = ([json.loads(line) for line in text.splitlines()] for text in (alone, nodes))
    assert len(ours) == 3 * 3 * 3
    assert [row["completion"] for row in ours] == [row["completion"] for row in theirs]
    assert [row["id"] for row in ours] == [row["id"] for row in theirs]
    assert len({row["reward"] for row in ours}) > 1  # there is something to learn from


def test_metrics_are_equal(runs):
    alone, nodes = ((run / "metrics.jsonl").read_text(encoding="utf-8") for run in runs)
    for ours, theirs in zip(alone.splitlines(), nodes.splitlines(), strict=True):
        one, two = numbers(json.loads(ours)), numbers(json.loads(theirs))
        assert one.keys() == two.keys()
        assert one == pytest.approx(two, rel=BAR, abs=BAR)
        assert one["grad_norm"] > 0


def numbers(metrics: dict) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith(TIMES)}


def test_weights_are_equal(runs):
    saved = [load_file(run / "checkpoints" / "step-000003" / "model.safetensors") for run in runs]
    start = load_file(ROOT / "models" / "tiny" / "model.safetensors")
    ours, theirs = saved
    assert ours.keys() == theirs.keys()
    moved = 0.0
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], rtol=BAR, atol=BAR)
        moved = max(moved, float((weight - start[name]).abs().max()))
    assert moved > 100 * BAR  # equal because of what was learned, not because nothing was
