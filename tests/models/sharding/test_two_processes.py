"""Two processes train, score and decode as one does, to 1e-5, in float32 and in bfloat16.

One start of two processes measures everything (two_processes.py); the tests read what they found.

In bfloat16 a product rounds by its number of rows, so the plain policy runs the same micro-batches
and, as a sharded one must, calls its last layer for every token; and each step begins with the same
weights. What then differs is the order in which float32 sums are added, so the bound is that of
float32.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.models.nano import write_checkpoint
from tests.models.sharding.two_processes import CASES, SIZE

pytestmark = pytest.mark.slow

NAMES = [case.name for case in CASES]
BOUND = 1e-5


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Case -> what each rank has found."""
    root = tmp_path_factory.mktemp("sharding")
    write_checkpoint(root / "qwen2_vl", "qwen2_vl", tied=True)
    write_checkpoint(root / "qwen2_5_vl", "qwen2_5_vl", tied=False)
    command = [sys.executable, "-W", "ignore", "-m", "tests.models.sharding.two_processes"]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(root)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(SIZE)
    ]
    try:
        errors = [rank.communicate(timeout=400)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0] * SIZE, "\n".join(errors)[-4000:]
    told = [json.loads((root / f"{rank}.json").read_text()) for rank in range(SIZE)]
    return {name: [rank[name] for rank in told] for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "what", ["logprobs", "gradients", "norm", "weights", "exp_avg", "exp_avg_sq"]
)
def test_training_is_that_of_one_process(found, name, what):
    assert all(rank[what] < BOUND for rank in found[name]), [rank[what] for rank in found[name]]


@pytest.mark.parametrize("name", NAMES)
def test_a_tower_that_no_process_has_shown_an_image_does_not_move(found, name):
    assert all(rank["same"] for rank in found[name])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["prompts", "reference"])
def test_passes_without_gradient_are_those_of_one_process(found, name, what):
    assert all(rank[what] < BOUND for rank in found[name])


def test_image_features_are_those_of_one_process(found):
    trained = [case.name for case in CASES if not case.frozen]
    assert all(rank["features"] < BOUND for name in trained for rank in found[name])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "what",
    [
        *("sampler", "sampler_is_kept", "sampler_moves", "sampler_comes_back", "addresses"),
        *("stays", "freed", "tower_is_shared", "prefill", "keeps_no_pass"),
    ],
)
def test_the_sampler_is_a_plain_policy_of_the_same_weights_to_the_bit(found, name, what):
    assert all(rank[what] for rank in found[name])


@pytest.mark.parametrize("name", NAMES)
def test_masters_are_float32_and_computing_is_in_the_working_dtype(found, name):
    assert all(rank["dtypes"] and rank["working_dtype"] for rank in found[name])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_stays_gathered_after_a_backward(found, name):
    assert all(rank["resharded"] for rank in found[name])


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_layers_gather_by_themselves_and_a_frozen_tower_does_not(found, case):
    # two layers, two vision blocks, and the policy with what is in neither
    assert {rank["modules"] for rank in found[case.name]} == {3 if case.frozen else 5}


@pytest.mark.parametrize("name", [case.name for case in CASES if not case.adapters])
def test_a_reference_is_cut_and_shares_a_frozen_tower(found, name):
    for rank in found[name]:
        assert rank["reference_is_cut"] and rank["reference_is_frozen"] and rank["reference_shares"]


@pytest.mark.parametrize("name", NAMES)
def test_the_processes_rows_follow_each_other(found, name):
    assert all(rank["rows"] and rank["rows_follow"] for rank in found[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_nan_in_one_process_moves_no_weight_of_any(found, name):
    assert all(rank["nan_skips"] and rank["nan_moves_nothing"] for rank in found[name])
