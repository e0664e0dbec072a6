"""A run goes on with as many processes to the same bytes, with others to the same numbers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from grpo.optimizer import PolicyOptimizer
from grpo.run.trainer_state import load_trainer_state
from grpo.settings.config import GRPOConfig
from models import load_policy
from models.checkpoint.manifest import read_manifest
from tests.whole.resumed_ranks import HALF, KINDS, TO_OTHERS, go_on, start
from tests.whole.test_ranks import lines, whole_state
from tests.whole.torchrun import run

pytestmark = pytest.mark.slow

LAST = "step-000005"
TIMES = ("time/", "samples_per_second", "tokens_per_second")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("resumed")
    for kind in TO_OTHERS:
        start(folder / f"{kind}-alone", kind)
    run(["-m", "tests.whole.resumed_ranks", folder], processes=2).check()
    for kind in TO_OTHERS:
        go_on(folder / f"{kind}-whole", folder / f"{kind}-two-then-one")
    return folder


def metrics(place: Path) -> list[dict]:
    """Return a run's lines without what no second run has again."""
    rows = lines(place / "metrics.jsonl")
    return [{k: row[k] for k in row if not k.startswith(TIMES)} for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_two_go_on_where_two_stopped_to_the_same_bytes(folder, kind):
    whole, again = (folder / f"{kind}-{name}" for name in ("whole", "again"))
    assert (again / "run.json").read_text() != (whole / "run.json").read_text(), "it went on"
    there = [read_manifest(place / "checkpoints" / LAST).files for place in (whole, again)]
    assert {"trainer/optimizer-00002-of-00002.safetensors", "trainer/rng-00001.safetensors"} < set(
        there[0]
    )
    assert there[0] == there[1]
    assert metrics(whole) == metrics(again) and len(metrics(again)) == 5
    assert completions(whole) == completions(again)


def completions(place: Path) -> list[dict]:
    """Return a run's lines of rollouts.jsonl, none of one that samples nothing."""
    return lines(place / "rollouts.jsonl") if (place / "rollouts.jsonl").exists() else []


def test_what_the_objectives_keep_is_in_the_checkpoint_that_they_went_on_from(folder):
    trainers = {kind: folder / f"{kind}-whole" / "checkpoints" / HALF / "trainer" for kind in KINDS}
    states = {kind: json.loads((trainers[kind] / "state.json").read_text()) for kind in KINDS}
    assert states["bfloat16"]["curriculum"]["recent"] and states["curriculum"]["curriculum"]["rows"]
    rows = metrics(folder / "float32-whole")
    drawn = sum(row["dynamic/drawn_groups"] for row in rows[:3])
    assert states["float32"]["data_position"] == drawn > 9, "none was drawn again"
    parts = sorted(file.name for file in trainers["float32"].glob("reference*"))
    assert parts == [f"reference-0000{i}-of-00002.safetensors" for i in (1, 2)] + [
        "reference.safetensors.index.json"
    ]


@pytest.mark.parametrize("kind", TO_OTHERS)
@pytest.mark.parametrize(
    ("name", "began"),
    [
        ("two-then-one", "whole"),
        ("one-then-two", "alone"),
        ("whole", "alone"),  # never broken off
    ],
)
def test_others_go_on_to_the_same_numbers(folder, kind, name, began):
    ours, theirs = folder / f"{kind}-{name}", folder / f"{kind}-{began}"
    weights, expected = (
        load_file(place / "checkpoints" / LAST / "model.safetensors") for place in (ours, theirs)
    )
    assert all((weights[key] - expected[key]).abs().max() < 1e-5 for key in expected)
    assert [row["completion"] for row in completions(ours)] == [
        row["completion"] for row in completions(theirs)
    ]
    for row, other in zip(metrics(ours), metrics(theirs), strict=True):
        assert row["reward"] == pytest.approx(other["reward"])
        assert row["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)
        assert row["kl"] == pytest.approx(other["kl"], rel=1e-3, abs=1e-7)
        # what a step was drawn by, and how old its reference is
        for key in other.keys() & {"reference_age", "dynamic/drawn_groups"} | {
            key for key in other if key.startswith("curriculum/")
        }:
            assert row[key] == other[key]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_process_reads_what_two_have_written_to_the_last_digit(folder, dtype):
    place = folder / f"{dtype}-whole" / "checkpoints" / HALF
    policy = load_policy(place, dtype=dtype)
    optimizer = PolicyOptimizer(policy, GRPOConfig(), total_steps=5)
    load_trainer_state(place, optimizer)
    found, saved = optimizer.state_tensors(), whole_state(place / "trainer")
    assert found.keys() == saved.keys()
    assert all(torch.equal(found[key], saved[key]) for key in saved)
    if dtype == "bfloat16":
        for name, weight in optimizer.weights.items():
            assert torch.equal(weight, saved[f"master/{name}"].bfloat16())
        assert any((m != m.bfloat16()).any() for n, m in saved.items() if n.startswith("master/"))


def test_it_is_said_that_generators_are_the_first_ones(folder, capsys):
    place = folder / "float32-whole" / "checkpoints" / HALF
    policy = load_policy(place)
    load_trainer_state(place, PolicyOptimizer(policy, GRPOConfig(), total_steps=5))
    said = capsys.readouterr().out
    assert said == (
        f"{place} was saved by 2 processes and goes on in 1: all of them with the random generators"
        " of the first\n"
    )
    assert json.loads((place / "trainer" / "state.json").read_text())["step"] == 3
