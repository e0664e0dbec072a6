"""The operators under torch.library: opcheck, torch.compile without a graph break, one gradient."""

import pytest
import torch

from grpo.logprobs import ops, token_logprobs
from tests.grpo.logprobs.logprobs_cases import BF16, FP32, FP64, gradients, make_inputs


@pytest.mark.parametrize("with_entropy", [False, True])
@pytest.mark.parametrize(
    ("hidden_dtype", "weight_dtype", "tile_dtype"),
    [(FP32, FP32, FP32), (BF16, FP32, FP32), (BF16, BF16, BF16), (FP64, FP64, FP64)],
)
def test_opcheck(with_entropy, hidden_dtype, weight_dtype, tile_dtype):
    # schema (nothing written to, no alias), autograd registration, fake tensors, static and dynamic
    # shapes through AOTAutograd
    hidden, weight, targets, _ = make_inputs(
        N=6, D=8, V=20, hidden_dtype=hidden_dtype, weight_dtype=weight_dtype
    )
    targets[targets == 7] = -100
    arguments = (0.7, with_entropy, [7], -100, tile_dtype, 6 * tile_dtype.itemsize * 5, "torch")
    close = {"atol": 1e-2, "rtol": 2e-2} if hidden_dtype == BF16 else {}
    torch.library.opcheck(ops.token_logprobs_op, (hidden, weight, targets, *arguments), **close)


@pytest.mark.parametrize("with_entropy", [False, True])
def test_opcheck_of_the_op_on_logits(with_entropy):
    logits, targets = torch.randn(4, 9), torch.tensor([0, 1, 8, -100])
    torch.library.opcheck(
        ops.logits_logprobs_op, (logits, targets, 0.7, with_entropy, -100, "torch")
    )


def loss_of(hidden, weight, targets):
    """A loss that needs both outputs, and reads of the shapes around the op."""
    logprobs, entropy = token_logprobs(
        hidden, weight, targets, temperature=0.7, with_entropy=True, banned_ids=(7, 8)
    )
    return (logprobs * torch.arange(len(hidden))).sum() + entropy.square().sum()


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_into_one_graph(dynamic):
    torch._dynamo.reset()
    compiled = torch.compile(loss_of, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    compare_compiled(compiled)


@pytest.mark.command
def test_compiles_with_inductor():
    torch._dynamo.reset()
    compare_compiled(torch.compile(loss_of, fullgraph=True, dynamic=True))


def compare_compiled(compiled):
    hidden, weight, targets, _ = make_inputs()
    targets = targets.clamp(min=9)
    for num_tokens in (13, 6, 5):
        cut = (hidden[:num_tokens], weight, targets[:num_tokens])
        eager, ours = loss_of(*cut), compiled(*cut)
        torch.testing.assert_close(ours, eager)
        expected = torch.autograd.grad(eager, (hidden, weight))
        for one, other in zip(torch.autograd.grad(ours, (hidden, weight)), expected, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.command
def test_the_emulated_kernels_go_through_the_same_operator(emulator):
    hidden, weight, targets, weightings = make_inputs()
    before = emulator.launched.total()
    outputs = token_logprobs(hidden, weight, targets, with_entropy=True, backend="emulate")
    gradients(outputs, (hidden, weight), weightings)
    assert emulator.launched.total() == before + 3  # forward, finalise, backward: one tile
    assert emulator.launched["backward_fp32_to_fp32_entropy"] >= 1


def test_a_second_derivative_is_refused():
    hidden, weight, targets, _ = make_inputs(N=3, D=2, V=5, hidden_dtype=FP64)
    logprobs, _ = token_logprobs(hidden, weight, targets)
    (grad,) = torch.autograd.grad(logprobs.sum(), hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        grad.sum().backward()
