"""Log-probabilities among kept ids: those of all logits, masked and made to add up again."""

import math

import pytest
import torch

from grpo.logprobs import kept, kept_logprobs, token_logprobs

KEPT = torch.tensor([[0, 2, 5, -1], [1, 3, 4, 6], [2, -1, -1, -1], [0, 1, 2, -1], [0, 5, 6, -1]])
TARGETS = torch.tensor([5, 1, 2, 0, 6])


def states(dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    weight = torch.randn(7, 3, dtype=torch.float64, generator=generator)
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()


def slow(hidden, weight, temperature):
    """Log-probs and entropies by the whole distribution, token after token and id after id."""
    logprobs, entropies = [], []
    for state, target, ids in zip(hidden, TARGETS.tolist(), KEPT.tolist(), strict=True):
        full = (weight @ state / temperature).softmax(dim=0)
        total = sum(full[i] for i in ids if i >= 0)
        logprobs.append(full[target].log() - total.log())
        entropies.append(-sum(full[i] / total * (full[i] / total).log() for i in ids if i >= 0))
    return torch.stack(logprobs), torch.stack(entropies)


def test_worked_example():
    # shares 0.4, 0.3, 0.2, 0.1; the first two are kept: 4/7 and 3/7
    weight = torch.tensor([[0.4], [0.3], [0.2], [0.1]]).log()
    found, entropies = kept_logprobs(
        torch.ones(2, 1), weight, torch.tensor([0, 1]), torch.tensor([[0, 1], [0, 1]]),
        with_entropy=True,
    )  # fmt: skip
    torch.testing.assert_close(found.exp(), torch.tensor([4 / 7, 3 / 7]))
    expected = -4 / 7 * math.log(4 / 7) - 3 / 7 * math.log(3 / 7)
    torch.testing.assert_close(entropies, torch.full((2,), expected))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("bytes_at_once", [1, 200, 2**20])  # one token, two, all
def test_values_and_gradients_are_those_of_the_whole_distribution(
    temperature, bytes_at_once, monkeypatch
):
    monkeypatch.setitem(kept.ROW_BYTES, "cpu", bytes_at_once)
    inputs = states()
    ours = kept_logprobs(*inputs, TARGETS, KEPT, temperature=temperature, with_entropy=True)
    theirs = slow(*inputs, temperature)
    torch.testing.assert_close(ours, theirs)
    factors = torch.tensor([0.3, -1.0, 2.0, 0.5, -0.2], dtype=torch.float64)
    for mine, other in zip(ours, theirs, strict=True):
        gradients = [
            torch.autograd.grad((found * factors).sum(), inputs, retain_graph=True)
            for found in (mine, other)
        ]
        torch.testing.assert_close(*gradients)
    without, none = kept_logprobs(*inputs, TARGETS, KEPT, temperature=temperature)
    assert torch.equal(without, ours[0]) and none is None


def test_no_more_rows_are_read_at_once_than_may_be(monkeypatch):
    monkeypatch.setitem(kept.ROW_BYTES, "cpu", 200)  # a token's 4 rows of 3 numbers are 48 bytes
    hidden, weight = states(torch.float32)
    read = [len(rows) for _, rows in kept._rows_of(weight, KEPT.clamp(min=0), hidden)]
    assert read == [4, 1]


def test_its_gradient_is_that_of_finite_differences():
    def both(hidden, weight):
        return kept_logprobs(hidden, weight, TARGETS, KEPT, with_entropy=True)

    assert torch.autograd.gradcheck(both, states())


def test_where_all_ids_are_kept_it_is_the_op_of_the_whole_vocabulary():
    hidden, weight = states(torch.float32)
    found = kept_logprobs(
        hidden, weight, TARGETS, torch.arange(7).expand(5, 7), temperature=0.8, with_entropy=True
    )
    expected = token_logprobs(hidden, weight, TARGETS, temperature=0.8, with_entropy=True)
    torch.testing.assert_close(found, expected)


def test_a_master_is_rounded_to_what_the_model_computes_with():
    hidden, weight = states()
    half, master = hidden.detach().bfloat16(), weight.detach().float()
    expected, _ = kept_logprobs(half.float(), master.bfloat16().float(), TARGETS, KEPT)
    for given in (master, master.bfloat16()):
        found, _ = kept_logprobs(half, given.requires_grad_(), TARGETS, KEPT)
        torch.testing.assert_close(found, expected)
        found.sum().backward()
        assert given.grad.dtype == given.dtype


def test_a_frozen_embedding_or_state_gets_no_gradient():
    for index in (0, 1):
        inputs = list(states())
        inputs[index] = inputs[index].detach()
        kept_logprobs(*inputs, TARGETS, KEPT)[0].sum().backward()
        assert inputs[index].grad is None
        assert inputs[1 - index].grad.abs().sum() > 0


def test_a_target_that_is_not_kept_is_nan():
    found, _ = kept_logprobs(*states(), torch.tensor([5, 0, 2, 0, 6]), KEPT)
    assert found.isnan().tolist() == [False, True, False, False, False]
