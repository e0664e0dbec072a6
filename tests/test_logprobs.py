"""The log-prob op against float64 at the bars of its design, its edges, and what it may allocate.

N tokens, D hidden size, V vocabulary, as in grpo/logprobs.py.
"""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from grpo import logprobs_torch
from grpo.logprobs import token_logprobs
from grpo.logprobs_plan import Plan, id_runs, tile_columns

FP32, BF16, FP64 = torch.float32, torch.bfloat16, torch.float64
any_temperature = pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 2.0])

# hidden, weight, tile -> bars of logp, entropy, relative L2 of the gradients; a bf16 tile's logp
# errs in proportion to the logits
PATHS = {
    "fp64": (FP64, FP64, None, 1e-10, 1e-10, 1e-10),
    "fp32": (FP32, FP32, None, 5e-5, 5e-5, 2e-5),
    "bf16": (BF16, BF16, None, 5e-5, 1e-4, 5e-3),
    "bf16 with an fp32 master": (BF16, FP32, None, 5e-5, 1e-4, 5e-3),
    "bf16 tile": (BF16, BF16, BF16, 40 * 2**-7, 1e-1, 3e-2),
}


def make_inputs(N=13, D=24, V=33, *, temperature=1.0, seed=0, hidden_dtype=FP32, weight_dtype=None):
    """Return leaves hidden and weight whose scaled logits reach 40, targets, and two weightings."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(N, D, generator=generator)
    weight = torch.randn(V, D, generator=generator)
    largest = (hidden @ weight.T).abs().max() if N else 1.0
    hidden = (hidden * 39.5 * temperature / largest).to(hidden_dtype).requires_grad_()
    weight = weight.to(weight_dtype or hidden_dtype).requires_grad_()
    targets = torch.randint(0, V, (N,), generator=generator)
    weightings = torch.randn(2, N, generator=generator, dtype=FP64)
    return hidden, weight, targets, weightings


def plain(hidden, weight, targets, temperature=1.0, banned_ids=()):
    """The textbook way in float64, on the numbers the op sees: every logit at once."""
    rounded = weight.to(hidden.dtype)  # an fp32 master is rounded like the weights of the forward
    logits = hidden.double() @ rounded.double().T / temperature
    if len(banned_ids):
        logits = logits.index_fill(1, torch.tensor(banned_ids), -torch.inf)
    log_p = torch.log_softmax(logits, dim=-1)
    entropy = torch.special.entr(log_p.exp()).sum(dim=-1)
    return log_p.gather(1, targets[:, None])[:, 0], entropy


def gradients(outputs, inputs, weightings):
    loss = sum(
        (output.double() * weighting).sum()
        for output, weighting in zip(outputs, weightings, strict=True)
    )
    return torch.autograd.grad(loss, inputs)


def relative_error(actual, expected):
    return ((actual.double() - expected.double()).norm() / expected.double().norm()).item()


def test_worked_example():
    # one hidden state (1, 0), three ids with logits 0, ln 2, ln 5 and T = 1: p = 1/8, 2/8, 5/8
    # entropy = (ln 8 + 2 ln 4 + 5 ln (8/5)) / 8; d logp[id 1] / d z = (-1/8, 1 - 2/8, -5/8)
    hidden = torch.tensor([[1.0, 0.0]], requires_grad=True)
    weight = torch.tensor([[0.0, 3.0], [math.log(2), 3.0], [math.log(5), 3.0]], requires_grad=True)
    logprobs, entropy = token_logprobs(hidden, weight, torch.tensor([1]), with_entropy=True)
    assert logprobs.item() == pytest.approx(math.log(2 / 8))
    by_hand = (math.log(8) + 2 * math.log(4) + 5 * math.log(8 / 5)) / 8
    assert entropy.item() == pytest.approx(by_hand)
    logprobs.sum().backward()
    grad_logits = torch.tensor([[-1 / 8, 6 / 8, -5 / 8]])
    torch.testing.assert_close(hidden.grad, grad_logits @ weight.detach())
    torch.testing.assert_close(weight.grad, grad_logits.T @ hidden.detach())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("vocab_size", [33, 1003])
@pytest.mark.parametrize("with_entropy", [False, True])
@any_temperature
def test_outputs_and_gradients_meet_the_bars(path, vocab_size, with_entropy, temperature):
    hidden_dtype, weight_dtype, tile_dtype, logp_bar, entropy_bar, grad_bar = PATHS[path]
    hidden, weight, targets, weightings = make_inputs(
        V=vocab_size,
        temperature=temperature,
        hidden_dtype=hidden_dtype,
        weight_dtype=weight_dtype,
    )
    logprobs, entropy = token_logprobs(
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


@pytest.mark.parametrize("columns", [1, 2, 7, 40, 64, 100, 131])
@pytest.mark.parametrize("with_entropy", [False, True])
def test_a_dominating_logit_is_found_in_every_column(columns, with_entropy):
    # Token i has logit 30 in column i, 0 elsewhere; random data would miss a skipped column.
    # Its own target is nearly certain, the next column's is 30 nats away.
    V = 131
    hidden, weight = 30 * torch.eye(V), torch.eye(V)
    hidden.requires_grad_()
    own = torch.arange(V)
    for targets, expected in ((own, 0.0), ((own + 1) % V, -30.0)):
        logprobs, entropy = token_logprobs(
            hidden, weight, targets, with_entropy=with_entropy, tile_bytes=4 * V * columns
        )
        torch.testing.assert_close(logprobs, torch.full((V,), expected), atol=4e-6, rtol=0)
        if with_entropy:
            torch.testing.assert_close(entropy, torch.zeros(V), atol=1e-6, rtol=0)
        (grad,) = torch.autograd.grad(logprobs.sum(), hidden)
        one_hot = torch.eye(V)[targets]
        torch.testing.assert_close(grad, one_hot - torch.eye(V), atol=1e-6, rtol=0)


@pytest.mark.parametrize("path", PATHS)
def test_targets_at_every_tile_edge(path):
    hidden_dtype, weight_dtype, tile_dtype, logp_bar, _, grad_bar = PATHS[path]
    V, columns, itemsize = 300, 64, (tile_dtype or FP32).itemsize
    itemsize = 8 if path == "fp64" else itemsize
    edges = sorted({0, V - 1, *range(columns, V, columns), *range(columns - 1, V, columns)})
    hidden, weight, _, weightings = make_inputs(
        N=len(edges), V=V, hidden_dtype=hidden_dtype, weight_dtype=weight_dtype
    )
    targets = torch.tensor(edges)
    logprobs, _ = token_logprobs(
        hidden, weight, targets, tile_dtype=tile_dtype, tile_bytes=len(edges) * itemsize * columns
    )
    expected = plain(hidden, weight, targets)[:1]
    torch.testing.assert_close(logprobs.double(), expected[0], atol=logp_bar, rtol=0)
    ours = gradients([logprobs], (hidden, weight), weightings[:1])
    truth = gradients(expected, (hidden, weight), weightings[:1])
    assert all(relative_error(*pair) <= grad_bar for pair in zip(ours, truth, strict=True))


@pytest.mark.parametrize("path", PATHS)
def test_repeats_are_bitwise_equal_and_tile_bytes_changes_little(path):
    hidden_dtype, weight_dtype, tile_dtype, logp_bar, entropy_bar, grad_bar = PATHS[path]
    hidden, weight, targets, weightings = make_inputs(
        V=1003, hidden_dtype=hidden_dtype, weight_dtype=weight_dtype
    )

    def run(tile_bytes):
        outputs = token_logprobs(
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


def test_log_probs_never_come_out_above_zero():
    for scale in (0.0, 1e-3, 1.0, 30.0, 1e3):
        hidden, weight, _, _ = make_inputs(N=200, V=50, seed=3)
        hidden = hidden.detach() * scale
        targets = (hidden @ weight.T).argmax(dim=1)
        for tile_bytes in (200 * 4 * 3, 2**20):
            assert token_logprobs(hidden, weight, targets, tile_bytes=tile_bytes)[0].max() <= 0


def test_large_logits_cost_no_digits():
    # logits 1000 and 996.09375, both exact: logp = -ln(1 + e^-3.90625). Subtracting a log-sum-exp
    # of 1000.02 instead of top and log apart would leave 3e-5 of error
    hidden, weight = torch.tensor([[1000.0]]), torch.tensor([[1.0], [1 - 1 / 256]])
    logprobs, _ = token_logprobs(hidden, weight, torch.tensor([0]))
    assert logprobs.item() == pytest.approx(-math.log1p(math.exp(-3.90625)), abs=2e-7)


def test_a_bf16_tile_rounds_its_logits():
    # logits 257 and 256; bf16 has eight bits, so 257 becomes 256 and the two are equally likely
    hidden = torch.ones(1, 2, dtype=BF16)
    weight = torch.tensor([[256.0, 1.0], [256.0, 0.0]], dtype=BF16)
    rounded, _ = token_logprobs(hidden, weight, torch.tensor([0]), tile_dtype=BF16)
    exact, _ = token_logprobs(hidden, weight, torch.tensor([0]))
    assert rounded.item() == pytest.approx(-math.log(2))
    assert exact.item() == pytest.approx(-math.log1p(math.exp(-1)))


# --- memory -------------------------------------------------------------------------------------


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements of any tensor that an operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("with_entropy", [False, True])
def test_no_tensor_is_ever_larger_than_a_tile_or_the_gradients(path, with_entropy):
    hidden_dtype, weight_dtype, tile_dtype, *_ = PATHS[path]
    N, D, V = 257, 8, 1003
    hidden, weight, targets, _ = make_inputs(
        N, D, V, hidden_dtype=hidden_dtype, weight_dtype=weight_dtype
    )
    columns = 64
    itemsize = 8 if path == "fp64" else (tile_dtype or FP32).itemsize
    with LargestTensor() as spy:
        logprobs, entropy = token_logprobs(
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


def test_the_spy_sees_the_plain_path():
    hidden, weight, targets, _ = make_inputs(N=257, D=8, V=1003)
    with LargestTensor() as spy:
        plain(hidden, weight, targets)
    assert spy.elements == 257 * 1003


def test_only_references_and_a_few_floats_per_token_are_saved():
    N, D, V = 50, 8, 200
    hidden, weight, targets, _ = make_inputs(N, D, V, hidden_dtype=BF16, weight_dtype=FP32)
    known = {tensor.data_ptr() for tensor in (hidden, weight, targets)}
    saved = []

    def remember(tensor):
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        token_logprobs(hidden, weight, targets, with_entropy=True)
    extra = [tensor.numel() for tensor in saved if tensor.data_ptr() not in known]
    assert len(saved) >= 4
    assert sum(extra) <= 2 * N


# --- rows and ids left out ----------------------------------------------------------------------


@pytest.mark.parametrize("ignore_index", [-100, -1, 0])
def test_ignored_rows_give_zeros_and_change_nothing_else(ignore_index):
    hidden, weight, targets, weightings = make_inputs(V=40, hidden_dtype=FP64)
    targets = targets.clamp(min=1)
    is_kept = torch.arange(13) % 3 != 0
    with_gaps = torch.where(is_kept, targets, ignore_index)
    outputs = token_logprobs(
        hidden, weight, with_gaps, with_entropy=True, ignore_index=ignore_index
    )
    for output in outputs:
        assert torch.equal(output[~is_kept], torch.zeros(5, dtype=FP64))
    alone = token_logprobs(hidden[is_kept], weight, targets[is_kept], with_entropy=True)
    for output, kept in zip(outputs, alone, strict=True):
        torch.testing.assert_close(output[is_kept], kept, atol=1e-12, rtol=0)
    grads = gradients(outputs, (hidden, weight), weightings)
    kept_grads = gradients(alone, (hidden, weight), weightings[:, is_kept])
    assert torch.equal(grads[0][~is_kept], torch.zeros(5, 24, dtype=FP64))
    for grad, kept in zip(grads, kept_grads, strict=True):
        torch.testing.assert_close(grad, kept, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("tile_bytes", [13 * 8, 13 * 8 * 5, None])
@pytest.mark.parametrize("banned_ids", [[0], [39], [0, 1, 2, 3, 4], [3, 9, 10, 11, 39], range(20)])
def test_banned_ids_have_probability_zero(tile_bytes, banned_ids):
    hidden, weight, targets, weightings = make_inputs(V=40, hidden_dtype=FP64)
    allowed = [column for column in range(40) if column not in banned_ids]
    targets = torch.tensor(allowed)[targets % len(allowed)]
    outputs = token_logprobs(
        hidden, weight, targets, with_entropy=True, banned_ids=banned_ids, tile_bytes=tile_bytes
    )
    expected = plain(hidden, weight, targets, banned_ids=list(banned_ids))
    # an independent law: as if the vocabulary had never held these ids
    shorter = {column: index for index, column in enumerate(allowed)}
    renamed = torch.tensor([shorter[target] for target in targets.tolist()])
    without = plain(hidden, weight[allowed], renamed)
    for output, truth, law in zip(outputs, expected, without, strict=True):
        torch.testing.assert_close(output, law, atol=1e-10, rtol=0)
        torch.testing.assert_close(truth, law, atol=1e-10, rtol=0)
    grads = gradients(outputs, (hidden, weight), weightings)
    for grad, truth in zip(grads, gradients(without, (hidden, weight), weightings), strict=True):
        assert relative_error(grad, truth) <= 1e-10
    assert torch.equal(grads[1][list(banned_ids)], torch.zeros(len(banned_ids), 24, dtype=FP64))


# --- other edges --------------------------------------------------------------------------------


def test_leading_dimensions_are_kept():
    hidden, weight, targets, _ = make_inputs(N=12)
    flat = token_logprobs(hidden, weight, targets, with_entropy=True)
    cube = token_logprobs(
        hidden.view(2, 2, 3, 24), weight, targets.view(2, 2, 3), with_entropy=True
    )
    for one, other in zip(flat, cube, strict=True):
        assert torch.equal(one.view(2, 2, 3), other)
    single = token_logprobs(hidden[0], weight, targets[0])[0]
    assert single.shape == ()
    torch.testing.assert_close(single, flat[0][0])


def test_views_and_transposed_tensors_are_read_right():
    hidden, weight, targets, _ = make_inputs(N=12)
    expected = token_logprobs(hidden, weight, targets)[0]
    strided = torch.stack([hidden, hidden], dim=-1)[..., 0]
    transposed = weight.detach().T.contiguous().T
    actual = token_logprobs(strided, transposed, targets.repeat_interleave(2)[::2])[0]
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("with_entropy", [False, True])
def test_no_tokens_give_empty_outputs_and_zero_gradients(with_entropy):
    hidden, weight, targets, _ = make_inputs(N=0)
    logprobs, entropy = token_logprobs(hidden, weight, targets, with_entropy=with_entropy)
    assert logprobs.shape == (0,)
    assert (entropy is not None) == with_entropy
    logprobs.sum().backward()
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    assert hidden.grad.shape == (0, 24)


@pytest.mark.parametrize("path", PATHS)
def test_a_gradient_wanted_for_one_input_is_the_same_as_for_both(path):
    hidden_dtype, weight_dtype, tile_dtype, *_ = PATHS[path]
    hidden, weight, targets, _ = make_inputs(hidden_dtype=hidden_dtype, weight_dtype=weight_dtype)

    def grad_with(wants_hidden, wants_weight):
        leaves = [
            leaf if wanted else leaf.detach()
            for leaf, wanted in ((hidden, wants_hidden), (weight, wants_weight))
        ]
        logprobs, _ = token_logprobs(*leaves, targets, tile_dtype=tile_dtype)
        return torch.autograd.grad(logprobs.sum(), [leaf for leaf in leaves if leaf.requires_grad])

    both = grad_with(True, True)
    assert torch.equal(grad_with(True, False)[0], both[0])
    assert torch.equal(grad_with(False, True)[0], both[1])
    assert not token_logprobs(hidden.detach(), weight.detach(), targets)[0].requires_grad


def test_the_entropy_alone_has_a_gradient():
    hidden, weight, targets, weightings = make_inputs(hidden_dtype=FP64)
    entropy = token_logprobs(hidden, weight, targets, with_entropy=True)[1]
    truth = plain(hidden, weight, targets)[1]
    ours = gradients([entropy], (hidden, weight), weightings[1:])
    expected = gradients([truth], (hidden, weight), weightings[1:])
    assert all(relative_error(*pair) <= 1e-10 for pair in zip(ours, expected, strict=True))


@pytest.mark.parametrize("columns", [3, 33])
def test_a_target_that_nobody_checked_is_nan_and_reads_nothing_else(columns):
    # on CUDA the wrapper does not look at the targets, and the backend must show a bad one
    hidden, weight, targets, _ = make_inputs()
    hidden, weight = hidden.detach(), weight.detach()
    targets[targets == 7] = 8
    plan = Plan(33, columns, FP32, 1.0, True, ((7, 8),), -100)
    clean = logprobs_torch.forward(hidden, weight, targets, plan)[0]
    for row, bad in enumerate((33, 40, -1, 7, 2**40)):
        targets[row] = bad
    logprobs = logprobs_torch.forward(hidden, weight, targets, plan)[0]
    assert logprobs.isnan().tolist() == [True] * 5 + [False] * 8
    assert torch.equal(logprobs[5:], clean[5:])


@pytest.mark.parametrize("tile_bytes", [13 * 4 * 5, None])
def test_nan_stays_visible_in_its_own_row(tile_bytes):
    hidden, weight, targets, _ = make_inputs()
    with torch.no_grad():
        hidden[4, 2] = torch.nan
    outputs = token_logprobs(hidden, weight, targets, with_entropy=True, tile_bytes=tile_bytes)
    for output in outputs:
        assert output.isnan().nonzero().tolist() == [[4]]


def test_the_inputs_are_not_written_to():
    hidden, weight, targets, _ = make_inputs(hidden_dtype=FP64)
    before = [tensor.detach().clone() for tensor in (hidden, weight, targets)]
    outputs = token_logprobs(
        hidden, weight, targets.clamp(max=30), with_entropy=True, banned_ids=[31], temperature=2.0
    )
    (outputs[0].sum() + outputs[1].sum()).backward()
    now = (hidden, weight, targets)
    assert all(torch.equal(a, b.detach()) for a, b in zip(before, now, strict=True))


# --- errors -------------------------------------------------------------------------------------

OK = {"hidden": torch.zeros(3, 4), "weight": torch.zeros(5, 4), "targets": torch.zeros(3).long()}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"hidden": torch.zeros(3, 6)}, ValueError, r"weight's D: got hidden \(3, 6\)"),
        ({"hidden": torch.tensor(1.0)}, ValueError, r"got hidden \(\)"),
        ({"weight": torch.zeros(5)}, ValueError, r"weight must have shape \(V, D\)"),
        ({"weight": torch.zeros(0, 4)}, ValueError, "V at least 1"),
        ({"targets": torch.zeros(4).long()}, ValueError, r"leading shape.*targets \(4,\)"),
        ({"targets": torch.zeros(3, device="meta").long()}, ValueError, "on one device.*meta"),
        ({"temperature": 0.0}, ValueError, "temperature must be finite and above 0, got 0.0"),
        ({"temperature": -1.0}, ValueError, "got -1.0"),
        ({"temperature": math.inf}, ValueError, "got inf"),
        ({"temperature": math.nan}, ValueError, "got nan"),
        ({"tile_bytes": 11}, ValueError, "tile_bytes=11 holds no column of 3 tokens.*least 12"),
        ({"tile_bytes": 0}, ValueError, "tile_bytes=0"),
        ({"banned_ids": [1, 5]}, ValueError, r"banned_ids \[5\] are outside the vocabulary of 5"),
        ({"banned_ids": [-1]}, ValueError, r"banned_ids \[-1\] are outside"),
        ({"banned_ids": range(5)}, ValueError, "holds all 5 ids"),
        ({"backend": "triton"}, ValueError, "unknown backend 'triton': use one of"),
        ({"backend": "cuda"}, RuntimeError, "needs kernels that .* use 'auto' or 'torch'"),
        ({"hidden": torch.zeros(3, 4).half()}, TypeError, "hidden must be .* got torch.float16"),
        (
            {"weight": torch.zeros(5, 4).double()},
            TypeError,
            "weight must have .* got torch.float64",
        ),
        ({"weight": torch.zeros(5, 4).bfloat16()}, TypeError, "hidden's dtype torch.float32"),
        ({"targets": torch.zeros(3).int()}, TypeError, "int64 token ids, got torch.int32"),
        ({"tile_dtype": BF16}, TypeError, "tile_dtype of torch.float32 hidden must be one of"),
        ({"targets": torch.tensor([0, 5, 5])}, IndexError, r"target 5 of token 1 .* \(2 such"),
        ({"targets": torch.tensor([0, 0, -1])}, IndexError, "target -1 of token 2 .* outside"),
        ({"targets": torch.tensor([0, 2, 0]), "banned_ids": [2]}, IndexError, "target 2 .* banned"),
    ],
)
def test_the_error_says_what_was_wrong(change, error, message):
    arguments = {**OK, **change}
    with pytest.raises(error, match=message):
        token_logprobs(arguments.pop("hidden"), arguments.pop("weight"), **arguments)


# --- the plan -----------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 3, 64, 1003, 5000])
def test_the_tiles_cover_the_vocabulary_once_and_the_bans_with_it(columns):
    banned = [0, 1, 63, 64, 65, 500, 1002]
    plan = Plan(1003, min(columns, 1003), FP32, 1.0, False, id_runs(banned, 1003), -100)
    tiles = list(plan.tiles())
    assert [column for start, stop in tiles for column in range(start, stop)] == list(range(1003))
    found = [
        start + column
        for start, stop in tiles
        for low, high in plan.banned_in(start, stop)
        for column in range(low, high)
    ]
    assert found == banned


@pytest.mark.parametrize("num_tokens", [1, 7, 4096])
@pytest.mark.parametrize("tile_bytes", [4 * 4096, 4 * 4096 * 63, 2**24])
def test_a_tile_fits_its_bytes_and_wastes_little(num_tokens, tile_bytes):
    columns = tile_columns(num_tokens, 151_936, tile_bytes, 4)
    assert 1 <= columns <= 151_936
    assert num_tokens * columns * 4 <= tile_bytes
    assert columns == 151_936 or (columns + 64) * num_tokens * 4 > tile_bytes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("path", PATHS)
def test_cuda_meets_the_bars_and_shows_a_bad_target_as_nan(path):
    hidden_dtype, weight_dtype, tile_dtype, logp_bar, entropy_bar, grad_bar = PATHS[path]
    hidden, weight, targets, weightings = make_inputs(
        N=64, D=64, V=1003, hidden_dtype=hidden_dtype, weight_dtype=weight_dtype
    )
    expected = plain(hidden, weight, targets)
    truth = gradients(expected, (hidden, weight), weightings)
    on_gpu = [tensor.detach().cuda().requires_grad_() for tensor in (hidden, weight)]
    options = {"with_entropy": True, "tile_dtype": tile_dtype, "tile_bytes": 64 * 8 * 200}
    outputs = token_logprobs(*on_gpu, targets.cuda(), **options)
    torch.testing.assert_close(outputs[0].cpu().double(), expected[0], atol=logp_bar, rtol=0)
    torch.testing.assert_close(outputs[1].cpu().double(), expected[1], atol=entropy_bar, rtol=0)
    ours = gradients(outputs, on_gpu, weightings.cuda())
    assert all(relative_error(a.cpu(), b) <= grad_bar for a, b in zip(ours, truth, strict=True))

    targets[3], targets[5] = 1003, 7
    logprobs, _ = token_logprobs(*on_gpu, targets.cuda(), banned_ids=[7], **options)
    wrong = sorted({3, *(targets == 7).nonzero()[:, 0].tolist()})
    assert logprobs.isnan().nonzero()[:, 0].tolist() == wrong
