"""`logits_logprobs`: the op on logits that exist already, as in the sampler's single step."""

import pytest
import torch

from grpo.logprobs import logits_logprobs


@pytest.fixture
def on_backend(op):
    """`logits_logprobs` on each backend, for tensors on the CPU."""

    def call(logits, targets, **options):
        device = "cuda" if op.backend == "cuda" else "cpu"
        options = {
            name: value.to(device) if torch.is_tensor(value) else value
            for name, value in options.items()
        }
        outputs = logits_logprobs(
            logits.to(device), targets.to(device), backend=op.backend, **options
        )
        return tuple(None if output is None else output.cpu() for output in outputs)

    return call


def plain(logits, targets, temperature=1.0):
    log_p = (logits.double() / temperature).log_softmax(dim=-1)
    entropy = torch.special.entr(log_p.exp()).sum(dim=-1)
    return log_p.gather(-1, targets[..., None])[..., 0], entropy


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vocab_size", [1, 33, 1003, 20_000])
@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_equals_log_softmax_and_writes_nothing(on_backend, dtype, vocab_size, temperature):
    torch.manual_seed(0)
    logits = (10 * torch.randn(5, vocab_size)).to(dtype)
    targets = torch.randint(vocab_size, (5,))
    before = logits.clone()
    outputs = on_backend(logits, targets, temperature=temperature, with_entropy=True)
    for output, expected in zip(outputs, plain(logits, targets, temperature), strict=True):
        assert output.dtype == torch.float32
        torch.testing.assert_close(output.double(), expected, atol=5e-5, rtol=0)
    assert outputs[0].max() <= 0
    assert torch.equal(logits, before)
    without = on_backend(logits, targets, temperature=temperature)
    assert without[1] is None
    torch.testing.assert_close(without[0], outputs[0], atol=2e-6, rtol=0)


def test_banned_columns_and_ignored_rows(on_backend):
    # ids 1 and 3 banned: two equal logits are left, so -ln 2; a banned target has no log-prob
    logits = torch.zeros(3, 4)
    logits[:, [1, 3]] = -torch.inf
    logprobs, entropy = on_backend(logits, torch.tensor([2, -100, 0]), with_entropy=True)
    ln2 = torch.tensor(2.0).log()
    torch.testing.assert_close(logprobs, torch.stack([-ln2, torch.tensor(0.0), -ln2]))
    torch.testing.assert_close(entropy, torch.stack([ln2, torch.tensor(0.0), ln2]))
    assert on_backend(logits, torch.tensor([1, 2, 0]))[0].isnan().tolist() == [True, False, False]


def test_rows_of_a_wider_matrix_and_more_dimensions(on_backend):
    # rows that start at any multiple of 4 bytes: every alignment of a 16-byte vector
    logits, targets = torch.randn(2, 3, 37), torch.randint(30, (2, 3))
    part = logits[..., 3:33]
    torch.testing.assert_close(
        on_backend(part, targets)[0], plain(part, targets)[0].float(), atol=1e-5, rtol=0
    )
    transposed = torch.randn(30, 4).T
    torch.testing.assert_close(
        on_backend(transposed, targets.flatten()[:4])[0],
        plain(transposed, targets.flatten()[:4])[0].float(),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_rows(on_backend, dtype):
    logits = torch.zeros(0, 5, dtype=dtype)
    outputs = on_backend(logits, torch.zeros(0).long(), with_entropy=True)
    assert [output.shape for output in outputs] == [(0,), (0,)]
    assert all(output.dtype == torch.float32 for output in outputs)


@pytest.mark.parametrize(
    ("logits", "targets", "error", "message"),
    [
        (torch.zeros(3, 0), torch.zeros(3).long(), ValueError, "V at least 1"),
        (torch.zeros(3, 5), torch.zeros(4).long(), ValueError, r"got \(3, 5\) and \(4,\)"),
        (torch.zeros(3, 5).half(), torch.zeros(3).long(), TypeError, "got torch.float16"),
        (torch.zeros(3, 5), torch.zeros(3).int(), TypeError, "int64 token ids"),
        (torch.zeros(3, 5), torch.tensor([0, 5, 0]), IndexError, "target 5 of token 1"),
        (torch.zeros(3, 5), torch.zeros(3, device="meta").long(), ValueError, "on one device"),
    ],
)
def test_the_error_says_what_was_wrong(logits, targets, error, message):
    with pytest.raises(error, match=message):
        logits_logprobs(logits, targets)


def test_it_has_no_gradient():
    logits = torch.randn(2, 5, requires_grad=True)
    assert not logits_logprobs(logits, torch.tensor([1, 2]))[0].requires_grad


@pytest.mark.parametrize("with_entropy", [False, True])
def test_weights_that_the_caller_has_change_nothing(on_backend, with_entropy):
    torch.manual_seed(0)
    logits = 10 * torch.randn(5, 1003)
    logits[:, 7] = -torch.inf
    logits -= logits.amax(dim=1, keepdim=True)
    targets = torch.tensor([0, 1, -100, 1002, 7])
    before = logits.clone()
    weights = logits.exp()
    given = on_backend(logits, targets, with_entropy=with_entropy, weights=weights)
    alone = on_backend(logits, targets, with_entropy=with_entropy)
    for found, expected in zip(given, alone, strict=True):
        if expected is not None:
            torch.testing.assert_close(found, expected, atol=2e-6, rtol=0, equal_nan=True)
    assert torch.equal(logits, before)
    assert torch.equal(weights, before.exp())


def test_weights_of_other_logits_are_refused():
    logits = torch.zeros(2, 3)
    for options in ({"temperature": 0.7}, {"weights": torch.ones(2, 4)}):
        given = {"weights": torch.ones(2, 3)} | options
        with pytest.raises(ValueError, match=r"weights must be exp\(logits\) at temperature 1"):
            logits_logprobs(logits, torch.tensor([1, 2]), **given)
