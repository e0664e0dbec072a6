"""What the log-prob op may allocate and keep: never a tensor of all logits."""

import weakref
from dataclasses import replace

import pytest
import torch

from grpo.logprobs import rows_torch, tiles
from grpo.logprobs.tile_plan import TilePlan
from tests.grpo.logprobs.logprobs_cases import (
    BF16,
    FP32,
    PATHS,
    LargestTensor,
    each_path,
    make_inputs,
    plain,
)

# --- memory -------------------------------------------------------------------------------------


@each_path
@pytest.mark.parametrize("with_entropy", [False, True])
def test_no_tensor_is_ever_larger_than_a_tile_or_the_gradients(op, path, with_entropy):
    hidden_dtype, weight_dtype, tile_dtype, *_ = PATHS[path]
    N, D, V = 257, 8, 1003
    hidden, weight, targets, _ = make_inputs(
        N, D, V, hidden_dtype=hidden_dtype, weight_dtype=weight_dtype
    )
    columns = 64
    itemsize = 8 if path == "fp64" else (tile_dtype or FP32).itemsize
    with LargestTensor() as spy:
        logprobs, entropy = op(
            hidden,
            weight,
            targets,
            with_entropy=with_entropy,
            temperature=0.7,
            banned_ids=[V - 1],
            tile_dtype=tile_dtype,
            tile_bytes=N * itemsize * columns,
        )
        (logprobs.sum() + (entropy.sum() if with_entropy else 0)).backward()
    assert hidden.grad is not None and weight.grad is not None
    assert spy.elements == N * columns  # a tile; (N, V) would be sixteen times as much
    assert N * columns > max(N * D, V * D)  # or the bound would prove nothing


@pytest.mark.parametrize("tokens", [100, 257])
def test_only_one_tile_of_gradients_lives_at_a_time(tokens):
    # with the kernels it is half a tile beside the logits, and a second one would miss the bar
    hidden, weight, targets, _ = make_inputs(N=257, D=8, V=1003)
    plan = TilePlan(257, 1003, tokens, 64, FP32, 1.0, False, (), -100)
    alive, most = weakref.WeakSet(), []

    def grad_logits(logits, start, rows, plan, dtype):
        grad = rows_torch.grad_logits(logits, start, rows, plan, dtype).clone()
        alive.add(grad)
        most.append(len(alive))
        return grad

    backend = replace(rows_torch.BACKEND, grad_logits=grad_logits)
    logprobs, _, lse = tiles.forward(backend, hidden.detach(), weight.detach(), targets, plan)
    rows = tiles.RowsForBackward(targets, lse, None, None, torch.ones_like(logprobs))
    tiles.backward(
        backend,
        *(hidden.detach(), weight.detach(), rows, plan),
        wants_hidden=True,
        wants_weight=True,
    )
    assert len(most) >= 16
    assert max(most) == 1


def test_the_spy_sees_the_plain_path():
    hidden, weight, targets, _ = make_inputs(N=257, D=8, V=1003)
    with LargestTensor() as spy:
        plain(hidden, weight, targets)
    assert spy.elements == 257 * 1003


def test_only_references_and_a_few_floats_per_token_are_saved(op):
    N, D, V = 50, 8, 200
    hidden, weight, targets, _ = make_inputs(N, D, V, hidden_dtype=BF16, weight_dtype=FP32)
    known = {tensor.data_ptr() for tensor in (hidden, weight, targets)}
    saved = []

    def remember(tensor):
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        op(hidden, weight, targets, with_entropy=True)
    extra = [tensor.numel() for tensor in saved if tensor.data_ptr() not in known]
    assert len(saved) >= 4
    assert sum(extra) <= 2 * N
