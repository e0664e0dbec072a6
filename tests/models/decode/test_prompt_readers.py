"""Reading a prompt kept once per group, both ways, against attention over each row's own copy.

Shapes: N prompts, B rows, P prompt tokens, t own tokens, Hkv key/value heads, r queries a head.
"""

import pytest
import torch

import models.decode.eager
from models.decode import prompt_readers
from models.decode.layer import fold_norm, norm_floor, normed
from models.decode.prompt_readers import (
    SharedPromptsByFlash,
    SharedPromptsByProducts,
    UnsharedPrompts,
)

N, P, T, HKV, R, D = 3, 7, 4, 2, 3, 8
ways = pytest.mark.parametrize("reader", [SharedPromptsByFlash, SharedPromptsByProducts])


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def shared_prompts(reader, owners, lengths=(P, P, P), dtype=torch.float32):
    mask = None
    if min(lengths) < P:
        hidden = torch.arange(P) >= torch.tensor(lengths)[:, None]
        mask = torch.zeros(N, 1, 1, P, dtype=dtype)
        mask.masked_fill_(hidden[:, None, None], -torch.inf)
    keys, values = (
        random(N, HKV, P, D, seed=1, dtype=dtype),
        random(N, HKV, P, D, seed=2, dtype=dtype),
    )
    return reader([keys], [values], mask, torch.tensor(owners))


def slow(keys, values, lengths, owners, query, own_keys, own_values, scale):
    """One row after another in float64, over its own prompt and its own tokens."""
    rows = []
    for row, owner in enumerate(owners):
        k = torch.cat([keys[owner][:, : lengths[owner]], own_keys[row]], dim=1).double()
        v = torch.cat([values[owner][:, : lengths[owner]], own_values[row]], dim=1).double()
        weights = (query[row].double() @ k.transpose(1, 2) * scale).softmax(dim=2)
        rows.append(weights @ v)
    return torch.stack(rows)


@ways
@pytest.mark.parametrize("lengths", [(7, 7, 7), (7, 2, 5), (1, 7, 7)])
@pytest.mark.parametrize(
    "owners",
    [
        [0, 0, 1, 1, 2, 2],
        [0, 1, 1, 1, 2, 2],
        [2, 0, 1, 0, 2, 2, 1],  # in no order
        [0, 1, 2],
    ],
)
def test_both_ways_equal_attention_over_copies(reader, lengths, owners):
    shared = shared_prompts(reader, owners, lengths)
    B = len(owners)
    query, own = random(B, HKV, R, D, seed=3), [random(B, HKV, T, D, seed=s) for s in (4, 5)]
    expected = slow(shared.keys[0], shared.values[0], lengths, owners, query, *own, 0.4)
    actual = shared.read(0, query, *own, 0.4)
    torch.testing.assert_close(actual.double(), expected, atol=2e-6, rtol=0)


@ways
def test_rows_can_leave_in_any_order_and_take_their_prompt_with_them(reader):
    owners, lengths = [0, 0, 0, 1, 1, 1, 2, 2, 2], (7, 3, 5)
    shared = shared_prompts(reader, owners, lengths)
    keys, values = shared.keys[0], shared.values[0]
    query, own = random(9, HKV, R, D, seed=3), [random(9, HKV, T, D, seed=s) for s in (4, 5)]
    kept = torch.arange(9)
    for left in ([8, 0, 7, 2, 1], [3, 1, 0], [1]):  # row numbers among those that are left
        shared.select(torch.tensor(left))
        kept = kept[left]
        remaining = [owners[row] for row in kept]
        assert len(shared.keys[0]) == len(set(remaining))  # nobody reads the others any more
        part = [tensor[kept] for tensor in (query, *own)]
        expected = slow(keys, values, lengths, remaining, *part, 0.4)
        actual = shared.read(0, *part, 0.4)
        torch.testing.assert_close(actual.double(), expected, atol=2e-6, rtol=0)


@ways
def test_scores_far_apart_do_not_overflow(reader):
    # the prompt outweighs the row's own tokens by e^600, and the other way round
    shared = shared_prompts(reader, [0, 0, 1, 1, 2, 2])
    query = 100 * random(6, HKV, R, D, seed=3)
    own = [random(6, HKV, T, D, seed=s) for s in (4, 5)]
    expected = slow(shared.keys[0], shared.values[0], (7, 7, 7), [0, 0, 1, 1, 2, 2], query, *own, 1)
    actual = shared.read(0, query, *own, 1.0)
    torch.testing.assert_close(actual.double(), expected, atol=2e-4, rtol=0)


@ways
def test_bfloat16_stays_bfloat16(reader):
    owners = [0, 0, 1, 2]
    shared = shared_prompts(reader, owners, (7, 2, 5), torch.bfloat16)
    query = random(4, HKV, R, D, seed=3, dtype=torch.bfloat16)
    own = [random(4, HKV, T, D, seed=s, dtype=torch.bfloat16) for s in (4, 5)]
    expected = slow(shared.keys[0], shared.values[0], (7, 2, 5), owners, query, *own, 0.4)
    actual = shared.read(0, query, *own, 0.4)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual.double(), expected, atol=3e-2, rtol=0)


@pytest.mark.parametrize("tokens", [3, 4, 64, 65])
@pytest.mark.parametrize("rows", [63, 64, 200])
def test_own_tokens_are_read_alike_in_every_size(rows, tokens):
    # the sizes on both sides of where flash gives way to products
    owners = [row % 3 for row in range(rows)]
    shared = shared_prompts(SharedPromptsByFlash, owners, (7, 2, 5))
    query, own = (
        random(rows, HKV, R, D, seed=3),
        [random(rows, HKV, tokens, D, seed=s) for s in (4, 5)],
    )
    expected = slow(shared.keys[0], shared.values[0], (7, 2, 5), owners, query, *own, 0.4)
    actual = shared.read(0, query, *own, 0.4)
    torch.testing.assert_close(actual.double(), expected, atol=3e-6, rtol=0)


def test_a_prompt_that_outweighs_the_rows_own_tokens_and_the_reverse():
    # scores hundreds apart: an exponential of a plain difference would overflow
    owners = [0] * 40 + [1] * 40 + [2] * 40
    shared = shared_prompts(SharedPromptsByFlash, owners, (7, 2, 5))
    query, own = random(120, HKV, R, D, seed=3), [random(120, HKV, 9, D, seed=s) for s in (4, 5)]
    for own_scale, prompt_scale in ((300.0, 1.0), (1.0, 300.0)):
        keys = shared.keys[0] * prompt_scale
        scaled = SharedPromptsByFlash([keys], shared.values, shared.mask, shared.row_to_prompt)
        row_keys = own[0] * own_scale
        expected = slow(keys, shared.values[0], (7, 2, 5), owners, query, row_keys, own[1], 0.4)
        actual = scaled.read(0, query, row_keys, own[1], 0.4)
        torch.testing.assert_close(actual.double(), expected, atol=2e-4, rtol=0)


def test_a_large_rollout_reads_as_small_ones_do():
    owners = [0] * 30 + [1] * 30 + [2] * 30
    shared = shared_prompts(SharedPromptsByFlash, owners, (7, 2, 5))
    query, own = random(90, HKV, R, D, seed=3), [random(90, HKV, 9, D, seed=s) for s in (4, 5)]
    expected = slow(shared.keys[0], shared.values[0], (7, 2, 5), owners, query, *own, 0.4)
    actual = shared.read(0, query, *own, 0.4)
    torch.testing.assert_close(actual.double(), expected, atol=2e-6, rtol=0)


def test_a_prompt_in_the_rows_own_cache_is_read_with_it_but_for_its_padding():
    lengths = (7, 2, 5)
    prompts = shared_prompts(SharedPromptsByProducts, [0, 1, 2], lengths)
    keys, values = prompts.keys[0], prompts.values[0]
    query, own = random(N, HKV, R, D, seed=3), [random(N, HKV, T, D, seed=s) for s in (4, 5)]
    mask = torch.zeros(N, 1, 1, P + T + 3)  # slots beyond the tokens so far are not read
    mask[..., :P] = prompts.mask
    reader, rows = UnsharedPrompts(mask), torch.tensor([2, 0])
    for kept in (torch.arange(N), rows):
        if kept is rows:
            reader.select(rows)
        part = [tensor[kept] for tensor in (query, *own)]
        cached = [
            torch.cat(pair, dim=2) for pair in ((keys[kept], part[1]), (values[kept], part[2]))
        ]
        expected = slow(keys, values, lengths, kept.tolist(), *part, 0.4)
        actual = reader.read(0, part[0], *cached, 0.4)
        torch.testing.assert_close(actual.double(), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("rows_per_prompt", "reader"),
    [([1, 1], UnsharedPrompts), ([1, 2], SharedPromptsByFlash), ([2, 2], SharedPromptsByFlash)],
)
def test_a_prompt_is_shared_as_soon_as_one_has_two_rows(nano_policy, rows_per_prompt, reader):
    prompts = [nano_policy.processor.encode("Which plane is this?" * n) for n in (1, 3)]
    state, _ = nano_policy.prefill(prompts, rows_per_prompt, 4)
    assert type(state.reader) is reader


def test_the_prompts_are_not_copied(nano_policy):
    prompts = [nano_policy.processor.encode("Which plane is this?" * n) for n in (1, 3)]
    state, _ = nano_policy.prefill(prompts, [4, 4], 10)
    longest = max(prompt.num_tokens for prompt in prompts)
    assert state.reader.keys[0].shape[::2] == (2, longest)
    assert state.keys[0].shape[::2] == (8, 10)  # only what is to come


def test_a_rollout_is_the_same_by_products_alone(nano_policy, monkeypatch):
    """The way of a GPU, on a CPU."""
    prompts = [nano_policy.processor.encode("Which plane is this?" * n) for n in (1, 3)]
    ids = torch.randint(0, 256, (6, 5), generator=torch.Generator().manual_seed(0))

    def run():
        state, hidden = nano_policy.prefill(prompts, [2, 4], 6)
        found = [hidden]
        rows = torch.arange(6)
        for step in range(5):
            if step == 2:
                rows = torch.tensor([0, 3, 5])
                state.select(rows)
            found.append(nano_policy.decode(state, ids[rows, step]))
        return torch.cat(found)

    by_flash = run()
    monkeypatch.setattr(prompt_readers, "SharedPromptsByFlash", SharedPromptsByProducts)
    torch.testing.assert_close(run(), by_flash, atol=1e-5, rtol=1e-5)


def test_norms_and_mlps_by_their_own_modules_give_the_same(nano_policy, monkeypatch):
    """What a GPU runs, where no weights are fused with the norms'."""
    prompts = [nano_policy.processor.encode("Which plane is this?")]

    def run():
        state, _ = nano_policy.prefill(prompts, [3], 4)
        return nano_policy.decode(state, torch.tensor([65, 66, 67]))

    folded = run()
    monkeypatch.setattr(models.decode.eager, "can_fold_norms", lambda _text: False)
    torch.testing.assert_close(run(), folded, atol=1e-5, rtol=1e-5)


def test_a_folded_norm_keeps_its_epsilon():
    norm = torch.nn.RMSNorm(8, eps=0.5)
    norm.variance_epsilon = norm.eps
    torch.nn.init.uniform_(norm.weight, 0.5, 2.0)
    hidden, weight = random(3, 8, seed=1), random(5, 8, seed=2)
    with torch.no_grad():
        unit, folded = normed(norm, hidden, norm_floor(norm)), weight.clone()
        fold_norm(folded, norm)
        torch.testing.assert_close(unit @ folded.T, norm(hidden) @ weight.T, atol=1e-6, rtol=1e-6)
