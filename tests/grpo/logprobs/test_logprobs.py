"""The log-prob op on each backend against float64 at the bars of its design, column by column.

N tokens, D hidden size, V vocabulary, as in grpo/logprobs.
"""

import math

import pytest
import torch

from grpo.logprobs import token_logprobs
from tests.grpo.logprobs.logprobs_cases import (
    BF16,
    FP32,
    FP64,
    PATHS,
    each_path,
    gradients,
    make_inputs,
    plain,
    relative_error,
)


def test_worked_example(op):
    # one hidden state (1, 0), three ids with logits 0, ln 2, ln 5 and T = 1: p = 1/8, 2/8, 5/8
    # entropy = (ln 8 + 2 ln 4 + 5 ln (8/5)) / 8; d logp[id 1] / d z = (-1/8, 1 - 2/8, -5/8)
    hidden = torch.tensor([[1.0, 0.0]], requires_grad=True)
    weight = torch.tensor([[0.0, 3.0], [math.log(2), 3.0], [math.log(5), 3.0]], requires_grad=True)
    logprobs, entropy = op(hidden, weight, torch.tensor([1]), with_entropy=True)
    assert logprobs.item() == pytest.approx(math.log(2 / 8))
    by_hand = (math.log(8) + 2 * math.log(4) + 5 * math.log(8 / 5)) / 8
    assert entropy.item() == pytest.approx(by_hand)
    logprobs.sum().backward()
    grad_logits = torch.tensor([[-1 / 8, 6 / 8, -5 / 8]])
    torch.testing.assert_close(hidden.grad, grad_logits @ weight.detach())
    torch.testing.assert_close(weight.grad, grad_logits.T @ hidden.detach())


@each_path
@pytest.mark.parametrize("vocab_size", [33, 1003])
@pytest.mark.parametrize("with_entropy", [False, True])
@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 2.0])
def test_outputs_and_gradients_meet_the_bars(op, path, vocab_size, with_entropy, temperature):
    hidden_dtype, weight_dtype, tile_dtype, logp_bar, entropy_bar, grad_bar = PATHS[path]
    hidden, weight, targets, weightings = make_inputs(
        V=vocab_size,
        temperature=temperature,
        hidden_dtype=hidden_dtype,
        weight_dtype=weight_dtype,
    )
    logprobs, entropy = op(
        hidden,
        weight,
        targets,
        temperature=temperature,
        with_entropy=with_entropy,
        tile_dtype=tile_dtype,
        tile_bytes=13 * 8 * 100,  # 100 to 400 columns
    )
    expected = plain(hidden, weight, targets, temperature)
    assert logprobs.dtype == (FP64 if path == "fp64" else FP32)
    assert logprobs.max() <= 0
    torch.testing.assert_close(logprobs.double(), expected[0], atol=logp_bar, rtol=0)
    outputs = [logprobs]
    if with_entropy:
        assert entropy.dtype == logprobs.dtype
        torch.testing.assert_close(entropy.double(), expected[1], atol=entropy_bar, rtol=0)
        outputs.append(entropy)

    ours = gradients(outputs, (hidden, weight), weightings[: len(outputs)])
    truth = gradients(expected[: len(outputs)], (hidden, weight), weightings[: len(outputs)])
    assert (ours[0].dtype, ours[1].dtype) == (hidden_dtype, weight_dtype)
    assert all(relative_error(*pair) <= grad_bar for pair in zip(ours, truth, strict=True))


@pytest.mark.parametrize("with_entropy", [False, True])
def test_gradcheck(with_entropy):
    hidden, weight, _, _ = make_inputs(N=5, D=3, V=11, hidden_dtype=FP64)
    targets = torch.tensor([3, -100, 8, 10, 6])

    def op(hidden, weight):
        outputs = token_logprobs(
            hidden / 8,
            weight,
            targets,
            temperature=0.7,
            with_entropy=with_entropy,
            banned_ids=[0, 1, 2, 7],
            tile_bytes=5 * 8 * 3,  # three columns: the first tile is banned whole
        )
        return outputs if with_entropy else outputs[0]

    assert torch.autograd.gradcheck(op, (hidden, weight))


# --- columns and tiles --------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [7, 40, 64, 131])
@pytest.mark.parametrize("with_entropy", [False, True])
def test_a_dominating_logit_is_found_in_every_column(op, columns, with_entropy):
    # Token i has logit 30 in column i, 0 elsewhere; random data would miss a skipped column.
    # Its own target is nearly certain, the next column's is 30 nats away.
    V = 131
    hidden, weight = 30 * torch.eye(V), torch.eye(V)
    hidden.requires_grad_()
    own = torch.arange(V)
    for targets, expected in ((own, 0.0), ((own + 1) % V, -30.0)):
        logprobs, entropy = op(
            hidden, weight, targets, with_entropy=with_entropy, tile_bytes=4 * V * columns
        )
        torch.testing.assert_close(logprobs, torch.full((V,), expected), atol=4e-6, rtol=0)
        if with_entropy:
            torch.testing.assert_close(entropy, torch.zeros(V), atol=1e-6, rtol=0)
        (grad,) = torch.autograd.grad(logprobs.sum(), hidden)
        one_hot = torch.eye(V)[targets]
        torch.testing.assert_close(grad, one_hot - torch.eye(V), atol=1e-6, rtol=0)


@each_path
def test_targets_at_every_tile_edge(op, path):
    hidden_dtype, weight_dtype, tile_dtype, logp_bar, _, grad_bar = PATHS[path]
    V, columns, itemsize = 300, 64, (tile_dtype or FP32).itemsize
    itemsize = 8 if path == "fp64" else itemsize
    edges = sorted({0, V - 1, *range(columns, V, columns), *range(columns - 1, V, columns)})
    hidden, weight, _, weightings = make_inputs(
        N=len(edges), V=V, hidden_dtype=hidden_dtype, weight_dtype=weight_dtype
    )
    targets = torch.tensor(edges)
    logprobs, _ = op(
        hidden, weight, targets, tile_dtype=tile_dtype, tile_bytes=len(edges) * itemsize * columns
    )
    expected = plain(hidden, weight, targets)[:1]
    torch.testing.assert_close(logprobs.double(), expected[0], atol=logp_bar, rtol=0)
    ours = gradients([logprobs], (hidden, weight), weightings[:1])
    truth = gradients(expected, (hidden, weight), weightings[:1])
    assert all(relative_error(*pair) <= grad_bar for pair in zip(ours, truth, strict=True))


@each_path
def test_repeats_are_bitwise_equal_and_tile_bytes_changes_little(op, path):
    hidden_dtype, weight_dtype, tile_dtype, logp_bar, entropy_bar, grad_bar = PATHS[path]
    hidden, weight, targets, weightings = make_inputs(
        V=1003, hidden_dtype=hidden_dtype, weight_dtype=weight_dtype
    )

    def run(tile_bytes):
        outputs = op(
            hidden, weight, targets, with_entropy=True, tile_dtype=tile_dtype, tile_bytes=tile_bytes
        )
        return *outputs, *gradients(outputs, (hidden, weight), weightings)

    first = run(2**20)
    assert all(torch.equal(a, b) for a, b in zip(first, run(2**20), strict=True))
    bars = (min(logp_bar, 5e-5), min(entropy_bar, 5e-5)) if tile_dtype is None else (logp_bar, 0.1)
    for tile_bytes in (13 * 8, 13 * 8 * 7, 13 * 8 * 500):
        other = run(tile_bytes)
        for bar, a, b in zip(bars, first[:2], other[:2], strict=True):
            torch.testing.assert_close(a, b, atol=bar, rtol=0)
        assert all(
            relative_error(a, b) <= grad_bar for a, b in zip(first[2:], other[2:], strict=True)
        )


def test_log_probs_never_come_out_above_zero(op):
    for scale in (0.0, 1e-3, 1.0, 30.0, 1e3):
        hidden, weight, _, _ = make_inputs(N=200, V=50, seed=3)
        hidden = hidden.detach() * scale
        targets = (hidden @ weight.T).argmax(dim=1)
        for tile_bytes in (200 * 4 * 3, 2**20):
            assert op(hidden, weight, targets, tile_bytes=tile_bytes)[0].max() <= 0


def test_large_logits_cost_no_digits(op):
    # logits 1000 and 996.09375, both exact: logp = -ln(1 + e^-3.90625). Subtracting a log-sum-exp
    # of 1000.02 instead of top and log apart would leave 3e-5 of error
    hidden, weight = torch.tensor([[1000.0]]), torch.tensor([[1.0], [1 - 1 / 256]])
    logprobs, _ = op(hidden, weight, torch.tensor([0]))
    assert logprobs.item() == pytest.approx(-math.log1p(math.exp(-3.90625)), abs=2e-7)


def test_a_bf16_tile_rounds_its_logits(op):
    # logits 257 and 256; bf16 has eight bits, so 257 becomes 256 and the two are equally likely
    hidden = torch.ones(1, 2, dtype=BF16)
    weight = torch.tensor([[256.0, 1.0], [256.0, 0.0]], dtype=BF16)
    rounded, _ = op(hidden, weight, torch.tensor([0]), tile_dtype=BF16)
    exact, _ = op(hidden, weight, torch.tensor([0]))
    assert rounded.item() == pytest.approx(-math.log(2))
    assert exact.item() == pytest.approx(-math.log1p(math.exp(-1)))
