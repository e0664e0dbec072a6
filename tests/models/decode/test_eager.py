"""Decoding token by token gives the numbers of the teacher-forced forward, whatever the batch.

Shapes: B rows, C completion tokens, V vocabulary.
"""

from types import SimpleNamespace

import pytest
import torch

from models import load_policy
from tests.models.hidden import completion_hidden
from tests.models.nano import FAMILIES, random_image, write_checkpoint

pytestmark = pytest.mark.model

LENGTH = 7
BAR = 1e-4  # the issue's, for log-probs of the sampler against teacher forcing; we are far below


@pytest.fixture(scope="module", params=FAMILIES)
def setup(request, tmp_path_factory):
    directory = write_checkpoint(tmp_path_factory.mktemp("nano") / request.param, request.param)
    policy = load_policy(directory)
    encode = policy.processor.encode
    wide, tall = random_image(56, 140), random_image(112, 56, seed=1)
    prompts = [
        encode("Which plane?", [wide]),
        encode("Which organ is it?", [tall, wide]),
        encode("Hi"),
    ]
    return SimpleNamespace(policy=policy, prompts=prompts)


def random_ids(rows, seed=0):
    return torch.randint(0, 256, (rows, LENGTH), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def teacher_forced(policy, prompts, rows_per_prompt, ids):
    hidden = completion_hidden(policy, prompts, rows_per_prompt, ids)
    return torch.log_softmax(hidden @ policy.output_weight.t(), dim=-1)  # (B, C, V)


@torch.no_grad()
def decoded(policy, prompts, rows_per_prompt, ids):
    state, hidden = policy.prefill(prompts, rows_per_prompt, ids.shape[1])
    steps = [hidden]
    for token in ids[:, :-1].unbind(1):
        steps.append(policy.decode(state, token))
    hidden = torch.stack(steps, dim=1)  # (B, C, D)
    return torch.log_softmax(hidden @ policy.output_weight.t(), dim=-1)


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=BAR / 10, rtol=0)


@pytest.mark.parametrize(
    ("chosen", "rows_per_prompt"),
    [([0, 0], [2, 2]), ([0, 1, 2], [2, 2, 2]), ([2, 1, 0], [1, 3, 2]), ([1], [1]), ([2], [4])],
)
def test_decoding_equals_teacher_forcing(setup, chosen, rows_per_prompt):
    prompts, ids = [setup.prompts[i] for i in chosen], random_ids(sum(rows_per_prompt))
    ours = decoded(setup.policy, prompts, rows_per_prompt, ids)
    assert_close(ours, teacher_forced(setup.policy, prompts, rows_per_prompt, ids))


def test_a_row_in_a_padded_batch_decodes_as_it_does_alone(setup):
    ids = random_ids(3)
    together = decoded(setup.policy, setup.prompts, [1, 1, 1], ids)
    for row, prompt in enumerate(setup.prompts):
        alone = decoded(setup.policy, [prompt], [1], ids[row : row + 1])
        assert_close(together[row : row + 1], alone)


@torch.no_grad()
def test_cached_equals_uncached(setup):
    """Each step against a fresh forward of the prefix so far, which knows no cache."""
    policy, prompts, ids = setup.policy, setup.prompts[:2], random_ids(3)
    cached = decoded(policy, prompts, [1, 2], ids)
    for length in range(1, LENGTH + 1):
        fresh = teacher_forced(policy, prompts, [1, 2], ids[:, :length])
        assert_close(cached[:, length - 1], fresh[:, -1])


@torch.no_grad()
@pytest.mark.parametrize("kept", [[0, 2, 5], [4], [5, 0, 3, 1], [1, 3]])
def test_select_keeps_the_rows_and_their_order(setup, kept):
    policy, rows_per_prompt, ids = setup.policy, [2, 3, 1], random_ids(6)
    expected = decoded(policy, setup.prompts, rows_per_prompt, ids)[kept]

    state, hidden = policy.prefill(setup.prompts, rows_per_prompt, LENGTH)
    for step in range(3):
        hidden = policy.decode(state, ids[:, step])
    kept = torch.tensor(kept)
    state.select(kept)
    assert state.num_rows == len(kept)
    for step in range(3, LENGTH - 1):
        hidden = policy.decode(state, ids[kept, step])
        logprobs = torch.log_softmax(hidden @ policy.output_weight.t(), dim=-1)
        assert_close(logprobs, expected[:, step + 1])
        if step == 4:  # once more, down to the last row
            kept, expected = kept[-1:], expected[-1:]
            state.select(torch.tensor([state.num_rows - 1]))


@torch.no_grad()
def test_slots_that_hold_no_token_are_never_read(setup):
    """Not even times zero: uninitialized memory is made NaN, which no mask would hide."""
    policy, ids = setup.policy, random_ids(6)
    expected = decoded(policy, setup.prompts, [2, 3, 1], ids)
    torch.use_deterministic_algorithms(True)  # fills what torch.empty returns with NaN
    try:
        state, hidden = policy.prefill(setup.prompts, [2, 3, 1], LENGTH)
        rows = torch.arange(6)
        for step in range(LENGTH - 1):
            assert all(cache[:, :, state.filled :].isnan().all() for cache in state.keys)
            assert not any(cache[:, :, : state.filled].isnan().any() for cache in state.keys)
            hidden = policy.decode(state, ids[rows, step])
            logprobs = torch.log_softmax(hidden @ policy.output_weight.t(), dim=-1)
            assert_close(logprobs, expected[rows, step + 1])
            if step == 2:
                rows = torch.tensor([5, 0, 3])
                state.select(rows)
    finally:
        torch.use_deterministic_algorithms(False)


@torch.no_grad()
def test_new_weights_count_from_the_next_prefill_on(setup):
    policy, ids = setup.policy, random_ids(2)
    before = decoded(policy, setup.prompts[:1], [2], ids)
    weight = policy.text.layers[0].self_attn.k_proj.weight
    saved = weight.clone()
    weight.mul_(1.5)
    try:
        ours = decoded(policy, setup.prompts[:1], [2], ids)
        assert_close(ours, teacher_forced(policy, setup.prompts[:1], [2], ids))
        assert (ours - before).abs().max() > 1e-3
    finally:
        weight.copy_(saved)


def test_nothing_of_a_rollout_needs_gradient(setup):
    state, hidden = setup.policy.prefill(setup.prompts[:1], [1], 2)
    assert not hidden.requires_grad
    assert not setup.policy.decode(state, torch.tensor([3])).requires_grad


def test_more_tokens_than_there_is_room_for_are_refused(setup):
    state, _ = setup.policy.prefill(setup.prompts[:1], [1], 1)
    setup.policy.decode(state, torch.tensor([3]))
    with pytest.raises(ValueError, match="full after 1 tokens: prefill with a larger"):
        setup.policy.decode(state, torch.tensor([3]))


@pytest.mark.parametrize("family", FAMILIES)
def test_in_bfloat16_decoding_differs_by_rounding_only(family, tmp_path):
    policy = load_policy(write_checkpoint(tmp_path / family, family), dtype="bfloat16")
    prompts = [policy.processor.encode("Which plane?", [random_image(56, 140)])]
    prompts += [policy.processor.encode("Hi")]
    ids = random_ids(4)
    ours = decoded(policy, prompts, [2, 2], ids)
    gap = (ours - teacher_forced(policy, prompts, [2, 2], ids)).gather(2, ids[..., None]).abs()
    assert gap.mean() < 0.04  # what rounding alone gives on six layers; this has two
