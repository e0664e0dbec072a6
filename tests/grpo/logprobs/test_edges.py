"""The log-prob op at its edges, on each backend: rows and ids left out, shapes, NaN."""

import pytest
import torch

from grpo.logprobs import tiles
from grpo.logprobs.backends import get_backend
from grpo.logprobs.tile_plan import TilePlan
from tests.grpo.logprobs.logprobs_cases import (
    FP32,
    PATHS,
    each_path,
    gradients,
    make_inputs,
    plain,
    relative_error,
)

# --- rows and ids left out ----------------------------------------------------------------------


@pytest.mark.parametrize("ignore_index", [-100, -1, 0])
def test_ignored_rows_give_zeros_and_change_nothing_else(op, ignore_index):
    hidden, weight, targets, weightings = make_inputs(V=40, hidden_dtype=op.exact)
    targets = targets.clamp(min=1)
    is_kept = torch.arange(13) % 3 != 0
    with_gaps = torch.where(is_kept, targets, ignore_index)
    outputs = op(hidden, weight, with_gaps, with_entropy=True, ignore_index=ignore_index)
    for output in outputs:
        assert torch.equal(output[~is_kept], torch.zeros(5, dtype=op.exact))
    alone = op(hidden[is_kept], weight, targets[is_kept], with_entropy=True)
    for output, kept in zip(outputs, alone, strict=True):
        torch.testing.assert_close(output[is_kept], kept, atol=min(op.tolerance, 1e-6), rtol=0)
    grads = gradients(outputs, (hidden, weight), weightings)
    kept_grads = gradients(alone, (hidden, weight), weightings[:, is_kept])
    assert torch.equal(grads[0][~is_kept], torch.zeros(5, 24, dtype=op.exact))
    for grad, kept in zip(grads, kept_grads, strict=True):
        assert relative_error(grad, kept) <= op.tolerance


@pytest.mark.parametrize("tile_bytes", [13 * 8, 13 * 8 * 5, None])
@pytest.mark.parametrize("banned_ids", [[0], [39], [0, 1, 2, 3, 4], [3, 9, 10, 11, 39], range(20)])
def test_banned_ids_have_probability_zero(op, tile_bytes, banned_ids):
    hidden, weight, targets, weightings = make_inputs(V=40, hidden_dtype=op.exact)
    allowed = [column for column in range(40) if column not in banned_ids]
    targets = torch.tensor(allowed)[targets % len(allowed)]
    outputs = op(
        hidden, weight, targets, with_entropy=True, banned_ids=banned_ids, tile_bytes=tile_bytes
    )
    expected = plain(hidden, weight, targets, banned_ids=list(banned_ids))
    # an independent law: as if the vocabulary had never held these ids
    shorter = {column: index for index, column in enumerate(allowed)}
    renamed = torch.tensor([shorter[target] for target in targets.tolist()])
    without = plain(hidden, weight[allowed], renamed)
    for output, truth, law in zip(outputs, expected, without, strict=True):
        torch.testing.assert_close(output.double(), law, atol=op.tolerance, rtol=0)
        torch.testing.assert_close(truth, law, atol=1e-10, rtol=0)
    grads = gradients(outputs, (hidden, weight), weightings)
    for grad, truth in zip(grads, gradients(without, (hidden, weight), weightings), strict=True):
        assert relative_error(grad, truth) <= op.tolerance
    assert torch.equal(grads[1][list(banned_ids)], torch.zeros(len(banned_ids), 24, dtype=op.exact))


# --- other edges --------------------------------------------------------------------------------


def test_leading_dimensions_are_kept(op):
    hidden, weight, targets, _ = make_inputs(N=12)
    flat = op(hidden, weight, targets, with_entropy=True)
    cube = op(hidden.view(2, 2, 3, 24), weight, targets.view(2, 2, 3), with_entropy=True)
    for one, other in zip(flat, cube, strict=True):
        assert torch.equal(one.view(2, 2, 3), other)
    single = op(hidden[0], weight, targets[0])[0]
    assert single.shape == ()
    torch.testing.assert_close(single, flat[0][0])


def test_views_and_transposed_tensors_are_read_right(op):
    hidden, weight, targets, _ = make_inputs(N=12)
    expected = op(hidden, weight, targets)[0]
    strided = torch.stack([hidden, hidden], dim=-1)[..., 0]
    transposed = weight.detach().T.contiguous().T
    actual = op(strided, transposed, targets.repeat_interleave(2)[::2])[0]
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("with_entropy", [False, True])
def test_no_tokens_give_empty_outputs_and_zero_gradients(op, with_entropy):
    hidden, weight, targets, _ = make_inputs(N=0)
    logprobs, entropy = op(hidden, weight, targets, with_entropy=with_entropy)
    assert logprobs.shape == (0,)
    assert (entropy is not None) == with_entropy
    logprobs.sum().backward()
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    assert hidden.grad.shape == (0, 24)


@each_path
def test_a_gradient_wanted_for_one_input_is_the_same_as_for_both(op, path):
    hidden_dtype, weight_dtype, tile_dtype, *_ = PATHS[path]
    hidden, weight, targets, _ = make_inputs(hidden_dtype=hidden_dtype, weight_dtype=weight_dtype)

    def grad_with(wants_hidden, wants_weight):
        leaves = [
            leaf if wanted else leaf.detach()
            for leaf, wanted in ((hidden, wants_hidden), (weight, wants_weight))
        ]
        logprobs, _ = op(*leaves, targets, tile_dtype=tile_dtype)
        return torch.autograd.grad(logprobs.sum(), [leaf for leaf in leaves if leaf.requires_grad])

    both = grad_with(True, True)
    assert torch.equal(grad_with(True, False)[0], both[0])
    assert torch.equal(grad_with(False, True)[0], both[1])
    assert not op(hidden.detach(), weight.detach(), targets)[0].requires_grad


def test_the_entropy_alone_has_a_gradient(op):
    hidden, weight, targets, weightings = make_inputs(hidden_dtype=op.exact)
    entropy = op(hidden, weight, targets, with_entropy=True)[1]
    truth = plain(hidden, weight, targets)[1]
    ours = gradients([entropy], (hidden, weight), weightings[1:])
    expected = gradients([truth], (hidden, weight), weightings[1:])
    assert all(relative_error(*pair) <= op.tolerance for pair in zip(ours, expected, strict=True))


@pytest.mark.parametrize("columns", [3, 33])
@pytest.mark.parametrize("tokens", [4, 13])
def test_a_target_that_nobody_checked_is_nan_and_reads_nothing_else(op, columns, tokens):
    # on CUDA the wrapper does not look at the targets, and the backend must show a bad one
    hidden, weight, targets, _ = make_inputs()
    hidden, weight = hidden.detach(), weight.detach()
    targets[targets == 7] = 8
    plan = TilePlan(13, 33, tokens, columns, FP32, 1.0, True, ((7, 8),), -100)
    device = torch.device("cuda" if op.backend == "cuda" else "cpu")

    def logprobs_of(targets):
        inputs = (tensor.to(device) for tensor in (hidden, weight, targets))
        return tiles.forward(get_backend(op.backend, device), *inputs, plan)[0].cpu()

    clean = logprobs_of(targets)
    for row, bad in enumerate((33, 40, -1, 7, 2**40)):
        targets[row] = bad
    logprobs = logprobs_of(targets)
    assert logprobs.isnan().tolist() == [True] * 5 + [False] * 8
    assert torch.equal(logprobs[5:], clean[5:])


@pytest.mark.parametrize("tile_bytes", [13 * 4 * 5, None])
def test_nan_stays_visible_in_its_own_row(op, tile_bytes):
    hidden, weight, targets, _ = make_inputs()
    with torch.no_grad():
        hidden[4, 2] = torch.nan
    outputs = op(hidden, weight, targets, with_entropy=True, tile_bytes=tile_bytes)
    for output in outputs:
        assert output.isnan().nonzero().tolist() == [[4]]


def test_the_inputs_are_not_written_to(op):
    hidden, weight, targets, _ = make_inputs(hidden_dtype=op.exact)
    before = [tensor.detach().clone() for tensor in (hidden, weight, targets)]
    outputs = op(
        hidden, weight, targets.clamp(max=30), with_entropy=True, banned_ids=[31], temperature=2.0
    )
    (outputs[0].sum() + outputs[1].sum()).backward()
    now = (hidden, weight, targets)
    assert all(torch.equal(a, b.detach()) for a, b in zip(before, now, strict=True))
