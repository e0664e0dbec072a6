"""Two processes, and three, train what one trains: ids, rewards, metrics, weights and moments.

One process runs in this one; the runs are those of tests/whole/runs_of_ranks.py.
"""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data.curriculum import Curriculum
from data.order import ExampleOrder
from data.sources import load_split
from tests.whole.runs_of_ranks import CASES, COMMON, ROWS, main
from tests.whole.torchrun import run

pytestmark = pytest.mark.slow

CLOSE = 1e-5
# Times are each run's own, and how much padding is run depends on who runs which rows.
OTHERWISE = ("time/", "samples_per_second", "tokens_per_second", "padding")
OF_THREE = ("uneven", "redrawn")  # the cases that three processes run as well


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[int, Path]:
    folders = {size: tmp_path_factory.mktemp(f"by-{size}") for size in (1, 2, 3)}
    main(folders[1], [])
    script = ["-m", "tests.whole.runs_of_ranks"]
    run([*script, folders[2]], processes=2).check()
    run([*script, folders[3], *OF_THREE], processes=3).check()
    return folders


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def cases() -> list[tuple[int, str]]:
    return [*((2, name) for name in CASES), *((3, name) for name in OF_THREE)]


every_case = pytest.mark.parametrize(("size", "name"), cases())


@every_case
def test_what_is_sampled_and_scored_is_the_same_in_the_same_order(runs, size, name):
    if CASES[name].get("method") == "sft" or CASES[name].get("exact_no_think"):
        pytest.skip("a run that is supervised, or lists its answers, samples nothing")
    ours, alone = (lines(runs[n] / name / "rollouts.jsonl") for n in (size, 1))
    assert len(ours) == len(alone) > 0
    for row, expected in zip(ours, alone, strict=True):
        # a grounding term is a probability, so it and what it changes are equal but for rounding
        advantage, other = row.pop("advantage"), expected.pop("advantage")
        assert advantage == pytest.approx(other, abs=CLOSE)
        images, others = row.pop("images"), expected.pop("images")  # files are each run's own
        assert [Path(one).name for one in images] == [Path(one).name for one in others]
        assert row == expected


@every_case
def test_metrics_are_those_of_one_process(runs, size, name):
    ours, alone = (lines(runs[n] / name / "metrics.jsonl") for n in (size, 1))
    assert [row["step"] for row in ours] == [row["step"] for row in alone]
    for row, expected in zip(ours, alone, strict=True):
        assert row.keys() == expected.keys()
        for key in (key for key in row if not key.startswith(OTHERWISE)):
            if expected[key] is None:
                assert row[key] is None, key
            else:
                assert row[key] == pytest.approx(expected[key], rel=CLOSE, abs=CLOSE), key


@every_case
def test_weights_and_moments_are_those_of_one_process(runs, size, name):
    ours, alone = (newest(runs[n] / name) for n in (size, 1))
    weights, expected = (load_file(each / "model.safetensors") for each in (ours, alone))
    assert weights.keys() == expected.keys()
    assert all((weights[k] - expected[k]).abs().max() < CLOSE for k in weights)
    # AdamW of gradients that nearly cancel: 2e-5 of the largest was seen, with adapters
    moments, others = (whole_state(each / "trainer") for each in (ours, alone))
    assert moments.keys() == others.keys()
    for key, moment in others.items():
        size_of_it = max(float(moment.abs().max()), 1e-12)
        assert float((moments[key] - moment).abs().max()) < 1e-4 * size_of_it, key


def newest(run_folder: Path) -> Path:
    return max((run_folder / "checkpoints").glob("step-*"))


def whole_state(trainer: Path) -> dict:
    """Return the optimizer's tensors, put together from the processes' files where they lie so."""
    if (one := trainer / "optimizer.safetensors").exists():
        return load_file(one)
    found: dict[str, list] = {}
    for file in sorted(trainer.glob("optimizer-*.safetensors")):  # in the order of the ranks
        for key, rows in load_file(file).items():
            found.setdefault(key, []).append(rows)
    return {key: torch.cat(rows) if rows[0].dim() else rows[0] for key, rows in found.items()}


def test_each_case_is_odd_in_the_way_that_it_says(runs):
    """Else the others would prove less than they seem to."""
    agreeing = lines(runs[1] / "agreeing" / "metrics.jsonl")
    assert any(row["zero_std_groups"] == 1 for row in agreeing)
    uneven = lines(runs[1] / "uneven" / "metrics.jsonl")
    assert any(0 < row["zero_std_groups"] < 1 for row in uneven)
    assert all(math.isfinite(row["grad_norm"]) for row in uneven)
    redrawn = lines(runs[1] / "redrawn" / "metrics.jsonl")
    assert all(row["dynamic/refills"] == 2 for row in redrawn)
    assert [row["reference_age"] for row in redrawn] == [0, 1, 0]
    shown = [row["id"] for row in lines(runs[1] / "curriculum" / "rollouts.jsonl")]
    assert list(dict.fromkeys(shown[-20:])) != untold(runs[1]), "what came of steps moved nothing"


def untold(folder: Path) -> list[str]:
    """Return what the curriculum's fifth step would show if nothing came of the steps before."""
    rows = load_split([str(folder / ROWS)], part="train", image_root=folder).examples
    order = ExampleOrder(rows, COMMON["seed"], shuffle_options=True)
    drawn = Curriculum(order, prompts_per_step=5, lag=5)
    return [drawn[position].id for position in range(20, 25)]
