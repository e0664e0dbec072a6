"""The step of the CUDA graphs, called instead of captured: the same numbers as without graphs.

What is left for a GPU, the capture itself, is in tests/models/decode/test_graphed_gpu.py.
"""

import pytest
import torch

import models.decode.buffers
from models import load_policy
from models.decode.graphed import GraphedState
from tests.models.decode.decode_cases import (
    assert_follows,
    decoded,
    random_ids,
    teacher_forced,
    unlike_prompts,
)
from tests.models.nano import FAMILIES, random_image, write_checkpoint

pytestmark = pytest.mark.model

LENGTH = 11  # in slots of 4: three buckets of own slots


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request, tmp_path_factory):
    return load_policy(write_checkpoint(tmp_path_factory.mktemp("nano") / "p", request.param))


@pytest.fixture(autouse=True)
def graphed(policy, monkeypatch):
    monkeypatch.setattr(models.decode.buffers, "SLOTS", 4)
    policy.decode_graphs = "stand-in"
    policy.free_decoding()


@pytest.mark.parametrize(
    ("chosen", "rows_per_prompt"),
    [
        ([0, 0], [2, 2]),
        ([0, 1, 2], [2, 2, 2]),
        ([2, 1, 0], [1, 3, 2]),  # unequal prompts in unequal groups, 6 rows in cells of 3
        ([1], [1]),
        ([2], [5]),  # a padding row
        ([0, 1, 2], [1, 1, 1]),  # greedy evaluation
        ([0, 1, 2, 0, 1], [1, 1, 1, 1, 1]),  # a padding prompt
    ],
)
def test_it_equals_decoding_without_graphs_and_teacher_forcing(policy, chosen, rows_per_prompt):
    prompts = [unlike_prompts(policy)[index] for index in chosen]
    ids = random_ids(sum(rows_per_prompt), LENGTH)
    found = decoded(policy, prompts, rows_per_prompt, ids)
    assert_follows(found, teacher_forced(policy, prompts, rows_per_prompt, ids))
    policy.decode_graphs = "off"
    plain = decoded(policy, prompts, rows_per_prompt, ids)
    assert_follows(found, torch.stack([logprobs for _, logprobs in plain], dim=1))


@pytest.mark.parametrize(
    "leaving",
    [
        {2: [0, 2, 5]},
        {0: [4]},
        {1: [5, 0, 3, 1], 4: [2, 0], 8: [1]},  # across slot buckets, in any order
        {3: [1, 2, 3, 4, 5], 4: [4, 3, 2, 0], 5: [3, 1, 0], 6: [0, 2], 7: [1]},
        {1: [2, 3, 4], 2: [2, 0]},  # one prompt only: the others are moved out
    ],
)
def test_rows_leave_in_any_order_down_through_the_buckets(policy, leaving):
    prompts, ids = unlike_prompts(policy), random_ids(6, LENGTH)
    found = decoded(policy, prompts, [2, 3, 1], ids, leaving)
    assert_follows(found, teacher_forced(policy, prompts, [2, 3, 1], ids))


def test_a_smaller_batch_runs_in_a_smaller_bucket(policy):
    state, _ = policy.prefill(unlike_prompts(policy), [2, 3, 1], LENGTH)
    assert state._bucket[:1] + state._bucket[2:3] == (6, 3)
    policy.decode(state, torch.zeros(6, dtype=torch.int64))
    state.select(torch.tensor([2, 3, 4]))
    assert state._bucket[:1] + state._bucket[2:3] == (3, 1)
    policy.decode(state, torch.zeros(3, dtype=torch.int64))
    keys = list(policy._decoder.graphs._graphs)
    assert [key.rows for key in keys] == [6, 3]


def test_slots_are_read_in_multiples_of_the_bucket(policy):
    decoded(policy, unlike_prompts(policy)[:1], [2], random_ids(2, LENGTH))
    assert [key.slots for key in policy._decoder.graphs._graphs] == [4, 8, 12]


def test_new_weights_count_from_the_next_prefill_on_in_the_same_graphs(policy):
    """An optimizer writes in place: what the graphs hold addresses of stays where it is."""
    prompts, ids = unlike_prompts(policy), random_ids(6, LENGTH)
    before = decoded(policy, prompts, [2, 3, 1], ids)
    decoder = policy._decoder
    graphs, addresses = dict(decoder.graphs._graphs), addresses_of(decoder)
    saved = {name: weight.clone() for name, weight in policy.text.named_parameters()}
    with torch.no_grad():
        for seed, weight in enumerate(policy.text.parameters()):
            torch.manual_seed(seed)
            weight.add_(0.05 * torch.randn_like(weight))
    try:
        after = decoded(policy, prompts, [2, 3, 1], ids)
        assert_follows(after, teacher_forced(policy, prompts, [2, 3, 1], ids))
        assert (after[-1][1] - before[-1][1]).abs().max() > 0.01
    finally:
        with torch.no_grad():
            for name, weight in policy.text.named_parameters():
                weight.copy_(saved[name])
    assert decoder is policy._decoder
    assert {key: id(graph) for key, graph in decoder.graphs._graphs.items()} == {
        key: id(graph) for key, graph in graphs.items()
    }
    assert len(graphs) == 3
    assert addresses_of(decoder) == addresses


def addresses_of(decoder) -> list[int]:
    tensors = [value for value in vars(decoder.buffers).values() if torch.is_tensor(value)]
    assert len(tensors) >= 12
    for fused in decoder.weights.layers:
        tensors += [fused.projection, fused.bias]
    return [tensor.data_ptr() for tensor in tensors]


def test_weights_that_moved_elsewhere_drop_the_graphs(policy):
    prompts, ids = unlike_prompts(policy), random_ids(6, LENGTH)
    decoded(policy, prompts, [2, 3, 1], ids)
    old = dict(policy._decoder.graphs._graphs)
    mlp = policy.text.layers[1].mlp.down_proj
    saved = mlp.weight.data
    mlp.weight.data = 1.5 * saved
    try:
        found = decoded(policy, prompts, [2, 3, 1], ids)
        assert_follows(found, teacher_forced(policy, prompts, [2, 3, 1], ids))
    finally:
        mlp.weight.data = saved
    new = policy._decoder.graphs._graphs
    assert old.keys() == new.keys()
    assert not {id(graph) for graph in old.values()} & {id(graph) for graph in new.values()}


def test_room_is_made_for_the_largest_of_each_size_and_then_kept(policy):
    """A rollout of many rows and an evaluation of long answers take turns."""
    prompts, buffers = unlike_prompts(policy), []
    many, long = random_ids(7, 5), random_ids(2, LENGTH)
    for _ in range(2):
        for chosen, rows_per_prompt, ids in ((prompts, [2, 4, 1], many), (prompts[2:], [2], long)):
            found = decoded(policy, chosen, rows_per_prompt, ids)
            assert_follows(found, teacher_forced(policy, chosen, rows_per_prompt, ids))
            buffers.append(policy._decoder.buffers)
    assert buffers[0] is not buffers[1] is buffers[2] is buffers[3]
    assert (buffers[1].capacity.rows, buffers[1].capacity.slots) == (8, 12)


def test_memory_full_of_nan_reaches_no_row(policy):
    """What a diverged policy left in the caches, and what torch.empty may return."""
    prompts, ids, leaving = unlike_prompts(policy), random_ids(6, LENGTH), {2: [5, 0, 3]}
    decoded(policy, prompts, [3, 3, 1], random_ids(7, LENGTH + 9))  # larger: it leaves more
    expected = teacher_forced(policy, prompts, [2, 3, 1], ids)
    buffers = policy._decoder.buffers
    for name, tensor in vars(buffers).items():
        constant = name in ("diagonal", "off_diagonal", "slot_numbers")
        if torch.is_tensor(tensor) and tensor.is_floating_point() and not constant:
            tensor.fill_(torch.nan)
    torch.use_deterministic_algorithms(True)  # fills what torch.empty returns with NaN
    try:
        assert_follows(decoded(policy, prompts, [2, 3, 1], ids, leaving), expected)
    finally:
        torch.use_deterministic_algorithms(False)
    assert policy._decoder.buffers is buffers


def test_slots_not_yet_written_hold_zeros(policy):
    """A weight of 0 times what they hold must be 0, and a mask hides no NaN."""
    decoded(policy, unlike_prompts(policy), [2, 3, 1], random_ids(6, LENGTH))
    state, _ = policy.prefill(unlike_prompts(policy), [2, 3, 1], LENGTH)
    for token in range(3):
        policy.decode(state, torch.full((6,), token))
    own = policy._decoder.buffers.own[:, :, :6]
    assert (own[..., :3, :] != 0).all() and not own[..., 3:, :].any()


def test_a_result_outlives_the_next_step(policy):
    state, _ = policy.prefill(unlike_prompts(policy)[:1], [2], LENGTH)
    first = policy.decode(state, torch.tensor([3, 4]))
    kept = first.clone()
    assert not torch.equal(policy.decode(state, torch.tensor([5, 6])), kept)
    assert torch.equal(first, kept)


def test_a_state_whose_caches_were_taken_says_so(policy):
    prompts = unlike_prompts(policy)[:1]
    earlier, _ = policy.prefill(prompts, [1], 2)
    assert isinstance(earlier, GraphedState)
    policy.prefill(prompts, [1], 2)
    with pytest.raises(RuntimeError, match="later prefill took this state's caches"):
        policy.decode(earlier, torch.tensor([3]))
    with pytest.raises(RuntimeError, match="later prefill took this state's caches"):
        earlier.select(torch.tensor([0]))


def test_more_tokens_than_there_is_room_for_are_refused(policy):
    state, _ = policy.prefill(unlike_prompts(policy)[:1], [1], 1)
    policy.decode(state, torch.tensor([3]))
    with pytest.raises(ValueError, match="full after 1 tokens: prefill with a larger"):
        policy.decode(state, torch.tensor([3]))


def test_the_way_is_chosen_by_device_and_an_unknown_one_refused(policy):
    prompts = unlike_prompts(policy)[:1]
    for mode, graphed in (("stand-in", True), ("auto", False), ("off", False)):
        policy.decode_graphs = mode
        assert isinstance(policy.prefill(prompts, [1], 1)[0], GraphedState) is graphed
        assert (policy._decoder is not None) is graphed
    policy.decode_graphs = "on"
    with pytest.raises(ValueError, match="'on': choose 'auto', 'off' or 'stand-in'"):
        policy.prefill(prompts, [1], 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_in_bfloat16_it_differs_by_rounding_only(family, tmp_path):
    policy = load_policy(write_checkpoint(tmp_path / family, family), dtype="bfloat16")
    policy.decode_graphs = "stand-in"
    prompts = [policy.processor.encode("Which plane?", [random_image(56, 140)])]
    prompts += [policy.processor.encode("Hi")]
    ids = random_ids(4, LENGTH)
    found = torch.stack([p for _, p in decoded(policy, prompts, [2, 2], ids)], dim=1)
    gap = (found - teacher_forced(policy, prompts, [2, 2], ids)).gather(2, ids[..., None]).abs()
    assert gap.mean() < 0.04  # the bar of decoding without graphs
