"""Which token a random number stands for: inverse-CDF sampling, and top-k and top-p before it.

One number per token (grpo/uniforms.py) decides, so what is sampled does not depend on which other
rows are in the batch.

Shapes: B rows (completions), R of them still being written, C completion tokens, V vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

# (weights (R, V), rows (R,), token position) -> ids (R,). Weights are unnormalised probabilities,
# which is all that choosing needs: a row's largest is 1, that of a banned id 0.
Choose = Callable[[Tensor, Tensor, int], Tensor]
# such weights (R, V) -> the ids that may be sampled, (R, K) int64 ascending, then -1
Keep = Callable[[Tensor], Tensor]


def inverse_cdf(uniforms: Tensor, *, top_k: int = 0, top_p: float = 1.0) -> Choose:
    """Return a `Choose` that samples row r's token t with the number ``uniforms[r, t]``, (B, C)."""

    def choose(weights: Tensor, rows: Tensor, position: int) -> Tensor:
        weights = keep_likeliest(weights, top_k=top_k, top_p=top_p)
        return sample_ids(weights, uniforms[rows, position])

    return choose


def sample_ids(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Return (R,): the first id whose cumulative probability exceeds u times the total.

    The total is the sum's own last value, since in float32 the sum over 151,936 ids ends near
    0.999999 and an id taken past it would be a banned one. An id of probability 0 is never taken,
    but for a row that is not finite, which gets id 0.

    Args:
        probabilities: (R, V), each row of any positive total.
        uniforms: (R,) in [0, 1).
    """
    cumulative = running_sums(probabilities)  # (R, V)
    threshold = uniforms[:, None] * cumulative[:, -1:]  # (R, 1)
    if cumulative.device.type == "cpu":  # summed from left to right, so it never falls
        found = torch.searchsorted(cumulative, threshold, right=True)[:, 0]  # (R,)
        # Past the end only where a row is NaN: its log-prob says so, and the update is left out.
        # The id must be one that may stand in a completion, which the last one may not.
        return found.where(found < probabilities.shape[1], 0)
    return _first_above(cumulative, threshold, probabilities)


def _first_above(cumulative: Tensor, threshold: Tensor, probabilities: Tensor) -> Tensor:
    """Return (R,): the first id that may be taken whose sum exceeds its row's threshold, else 0."""
    # A GPU sums in blocks: a later sum may be smaller by a rounding, and a search would go astray.
    exceeds = (cumulative > threshold) & (probabilities > 0)  # (R, V)
    return exceeds.to(torch.int8).argmax(dim=1)  # the first of equals


def keep_likeliest(probabilities: Tensor, *, top_k: int, top_p: float) -> Tensor:
    """Return the probabilities with all others set to 0, not rescaled: (R, V).

    Top-p keeps the smallest set of likeliest ids whose total reaches it, so at least one.
    """
    if top_k and top_k < probabilities.shape[1]:
        # By value, so that ids as likely as the last of the k stay too, in whatever order.
        smallest = probabilities.topk(top_k, dim=1).values[:, -1:]  # (R, 1) of those kept
        probabilities = probabilities.where(probabilities >= smallest, 0.0)
    if top_p < 1:
        ordered, order = probabilities.sort(dim=1, descending=True)  # (R, V) each
        before = running_sums(ordered) - ordered  # what the likelier ones already hold
        ordered = ordered.where(before < top_p * ordered.sum(dim=1, keepdim=True), 0.0)
        probabilities = torch.zeros_like(probabilities).scatter(1, order, ordered)  # (R, V)
    return probabilities


def likeliest_ids(weights: Tensor, *, top_k: int, top_p: float) -> Tensor:
    """Return the ids that top-k and then top-p keep, (R, K = top_k), ascending, then -1.

    Exactly k where all are possible: of ids as likely as the last of them, whichever `topk` takes.
    A row that is not finite keeps id 0 alone, as `sample_ids` takes it there.

    Args:
        weights: (R, V), unnormalised probabilities.
        top_k: how many at most, at least 1.
        top_p: the share of their total that is kept; 1: all of it.

    >>> weights = torch.tensor([[0.2, 1.0, 0.0, 0.8], [0.0, 1.0, 0.0, 0.0]])
    >>> likeliest_ids(weights, top_k=3, top_p=0.9).tolist()
    [[1, 3, -1], [1, -1, -1]]
    """
    vocab_size = weights.shape[1]
    room = min(top_k, vocab_size)
    values, ids = weights.nan_to_num(nan=0.0).topk(room, dim=1)  # (R, K) each, likeliest first
    is_kept = keep_likeliest(values, top_k=0, top_p=top_p) > 0
    ids = ids.where(is_kept, vocab_size).sort(dim=1).values
    ids = ids.where(ids < vocab_size, -1)
    ids[:, 0].clamp_(min=0)  # nothing is kept of a row that is not finite
    return pad(ids, (0, top_k - room), value=-1)


def running_sums(probabilities: Tensor) -> Tensor:
    """Return the sums of the first 1, 2, .. V probabilities of each row, (R, V).

    A GPU adds floats in an order of its own; where that may not be (`--deterministic`), whole
    numbers are added.
    """
    if probabilities.device.type == "cpu" or not torch.are_deterministic_algorithms_enabled():
        return probabilities.cumsum(dim=1)
    return whole_sums(probabilities)


def whole_sums(probabilities: Tensor) -> Tensor:
    """Return the running sums, (R, V) float64, of probabilities in units of 2^-32.

    Each is at most 1, so that float64 holds their sum exactly whatever the vocabulary; what is less
    than a unit, next to the row's likeliest id, counts as 0.

    >>> whole_sums(torch.tensor([[0.25, 1.0, 0.0]])).tolist()
    [[0.25, 1.25, 1.25]]
    """
    whole = (probabilities.double() * 2**32).long()  # (R, V)
    return whole.cumsum(dim=1).double() * 2.0**-32
