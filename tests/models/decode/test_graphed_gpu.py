"""The capture itself, on a CUDA device: the numbers of decoding without graphs, few captures."""

import time

import pytest
import torch

from grpo.rollout import PromptBatch, sample_rollout
from grpo.settings.config import GRPOConfig
from models import load_policy
from tests.models.decode.decode_cases import decoded, random_ids, unlike_prompts
from tests.models.nano import FAMILIES, write_checkpoint

pytestmark = [
    pytest.mark.model,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    pytest.mark.filterwarnings("error::RuntimeWarning"),  # a capture that failed
]
LENGTH, LEAVING = 70, {9: [5, 0, 3, 1], 30: [2, 0], 66: [1]}


@pytest.fixture(params=[(f, d) for f in FAMILIES for d in ("float32", "bfloat16")], ids="-".join)
def policy(request, tmp_path):
    family, dtype = request.param
    return load_policy(write_checkpoint(tmp_path / family, family), dtype=dtype, device="cuda")


def gaps(ours, theirs, ids) -> torch.Tensor:
    """Return how far apart the log-probs of the tokens in ``ids`` are, all steps flat."""
    found = []
    for token, ((rows, a), (_, b)) in enumerate(zip(ours, theirs, strict=True)):
        wanted = ids[rows, token].to(a.device)[:, None]
        found.append((a - b).gather(1, wanted)[:, 0].abs())
    return torch.cat(found)


def assert_close(policy, ours, theirs, ids):
    gap = gaps(ours, theirs, ids)
    assert not gap.isnan().any()
    if policy.dtype == torch.float32:
        assert gap.max() < 1e-4
    else:  # what rounding alone gives
        assert gap.mean() < 0.04


def test_captured_equals_called_and_without_graphs(policy):
    prompts, ids = unlike_prompts(policy), random_ids(6, LENGTH)
    results = {}
    for mode in ("auto", "stand-in", "off"):
        policy.decode_graphs = mode
        start = time.perf_counter()
        results[mode] = decoded(policy, prompts, [2, 3, 1], ids, LEAVING)
        torch.cuda.synchronize()
        print(f"{mode}: {time.perf_counter() - start:.2f} s, all captures included")
        if mode == "auto":
            graphs = dict(policy._decoder.graphs._graphs)
            assert all(isinstance(graph, torch.cuda.CUDAGraph) for graph in graphs.values())
            assert len(graphs) == 5  # 6, 4 and 2 rows; past the 64th slot 2 again; 1 row
            again = decoded(policy, prompts, [2, 3, 1], ids, LEAVING)
            assert policy._decoder.graphs._graphs == graphs  # none was made
            for (_, first), (_, second) in zip(results[mode], again, strict=True):
                assert torch.equal(first, second)
    assert_close(policy, results["auto"], results["stand-in"], ids)
    assert_close(policy, results["auto"], results["off"], ids)


def test_new_weights_count_in_the_same_graphs(policy):
    prompts, ids = unlike_prompts(policy), random_ids(6, 12)
    before = decoded(policy, prompts, [2, 3, 1], ids)
    graphs = dict(policy._decoder.graphs._graphs)
    with torch.no_grad():
        for weight in policy.text.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    after = decoded(policy, prompts, [2, 3, 1], ids)
    assert policy._decoder.graphs._graphs == graphs and len(graphs) == 1
    policy.decode_graphs = "off"
    assert_close(policy, after, decoded(policy, prompts, [2, 3, 1], ids), ids)
    assert gaps(before, after, ids).max() > 0.01


def test_captures_stay_few_over_many_rollouts(policy):
    config = GRPOConfig(group_size=6, max_completion_tokens=40, temperature=0.7)
    prompts = tuple(unlike_prompts(policy))
    for step in range(6):
        sample_rollout(policy, PromptBatch(prompts, (0, 1, 2), (0, 1, 2), step), config.sampling)
    made = len(policy._decoder.graphs._graphs)  # far fewer than are kept
    print(f"{made} captures in 6 rollouts")
    # 24, 16, 12, 8, 6, 4, 3, 2 or 1 rows, of three prompts or of one
    assert made <= 18
    policy.free_decoding()
    torch.cuda.synchronize()
    sample_rollout(policy, PromptBatch(prompts, (0, 1, 2), (0, 1, 2), 6), config.sampling)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="only one CUDA device here")
@pytest.mark.parametrize("current", [0, 1])
def test_a_graph_of_the_second_gpu_is_captured_there_whichever_is_current(tmp_path, current):
    policy = load_policy(write_checkpoint(tmp_path / "m"), dtype="float32", device="cuda:1")
    prompts, ids = unlike_prompts(policy), random_ids(6, LENGTH)
    results = {}
    with torch.cuda.device(current):
        for policy.decode_graphs in ("auto", "off"):
            results[policy.decode_graphs] = decoded(policy, prompts, [2, 3, 1], ids, LEAVING)
        assert torch.cuda.current_device() == current
    assert_close(policy, results["auto"], results["off"], ids)
