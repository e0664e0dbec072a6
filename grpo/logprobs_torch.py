"""The log-prob op in plain PyTorch: the vocabulary tile by tile, forward and backward.

The forward keeps three numbers per token while tiles pass by, the online softmax of Milakov and
Gimelshein (arXiv:1805.02867) with the entropy's sum beside it; the backward computes every tile
again instead of keeping it. This is the product path on a CPU and the oracle of other backends.

Shapes in this file: N tokens, D hidden size, V vocabulary, K columns of a tile.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from grpo.logprobs_plan import Plan


def forward(
    hidden: Tensor, weight: Tensor, targets: Tensor, plan: Plan
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probs (N,), entropies (N,) or (0,) without them, and log-sum-exps (N,).

    With z the scaled logits, top their running maximum and log p = z - lse:

        total     sum of exp(z - top)                    lse     = top + log(total)
        moment    sum of exp(z - top) * (z - top)        entropy = log(total) - moment / total

    A row whose target is out of range or banned is NaN; an ignored one is 0.
    """
    dtype = _accumulator(plan.tile_dtype)
    # the lowest finite number, not -inf: -inf - -inf would poison a row whose first tile is banned
    top = hidden.new_full((hidden.shape[0],), torch.finfo(dtype).min, dtype=dtype)
    total, moment = torch.zeros_like(top), torch.zeros_like(top)
    picked = torch.full_like(top, torch.nan)

    for start, stop, logits, _ in _tiles(hidden, weight, plan):
        new_top = torch.maximum(top, logits.amax(dim=1))
        inside, column = _target_columns(targets, start, stop)
        picked = torch.where(inside, logits.gather(1, column[:, None])[:, 0], picked)

        shifted, rise = logits.sub_(new_top[:, None]), top - new_top  # (N, K), (N,)
        rescale = rise.exp()
        if plan.with_entropy:
            exps = shifted.exp()
            _fill(shifted, plan.banned_in(start, stop), 0.0)  # 0 * -inf would be NaN
            moment = (moment + total * rise) * rescale + shifted.mul_(exps).sum(dim=1)
        else:
            exps = shifted.exp_()
        total = total * rescale + exps.sum(dim=1)
        top = new_top

    log_total = total.log()
    is_ignored = targets == plan.ignore_index
    # top - picked >= 0 and total >= 1 exactly: no log-prob comes out above 0
    logprobs = (picked - top - log_total).masked_fill(_is_banned(targets, plan), torch.nan)
    entropy = log_total - moment / total if plan.with_entropy else total.new_empty(0)
    return (
        logprobs.masked_fill(is_ignored, 0.0),
        entropy.masked_fill(is_ignored, 0.0) if plan.with_entropy else entropy,
        top + log_total,
    )


def backward(
    grad_logprobs: Tensor | None,
    grad_entropy: Tensor | None,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    entropy: Tensor,
    lse: Tensor,
    plan: Plan,
    *,
    wants_hidden: bool,
    wants_weight: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of hidden (N, D) and weight (V, D), None where not wanted.

        d logprob / d z[v] = 1[v = target] - p[v]        d entropy / d z[v] = -p[v] (log p[v] + H)

    Logits are unscaled h W^T, hence one more 1 / temperature.
    """
    is_ignored = targets == plan.ignore_index
    if grad_logprobs is None:
        grad_logprobs = torch.zeros_like(lse)
    grad_logprobs = (grad_logprobs / plan.temperature).masked_fill(is_ignored, 0.0)  # (N,)
    if grad_entropy is not None:
        grad_entropy = (grad_entropy / plan.temperature).masked_fill(is_ignored, 0.0)  # (N,)

    grad_hidden = torch.zeros_like(hidden, dtype=lse.dtype) if wants_hidden else None
    grad_weight = torch.empty_like(weight) if wants_weight else None
    operand = _operand(hidden)
    for start, stop, logits, rows in _tiles(hidden, weight, plan):
        log_p = logits.sub_(lse[:, None])  # (N, K)
        if grad_entropy is None:
            grad_logits = log_p.exp_().mul_(-grad_logprobs[:, None])
        else:
            p = log_p.exp()
            _fill(log_p, plan.banned_in(start, stop), 0.0)  # 0 * -inf would be NaN
            pull = log_p.add_(entropy[:, None]).mul_(grad_entropy[:, None])
            grad_logits = pull.add_(grad_logprobs[:, None]).mul_(p).neg_()
        inside, column = _target_columns(targets, start, stop)
        at_target = torch.where(inside, grad_logprobs, 0.0)
        grad_logits.scatter_add_(1, column[:, None], at_target[:, None])

        grad_logits = grad_logits.to(operand.dtype)  # bf16 on CUDA: the tensor cores' own
        if wants_hidden:
            grad_hidden += _product(grad_logits, rows, grad_hidden.dtype)
        if wants_weight:
            grad_weight[start:stop] = _product(grad_logits.t(), operand, grad_weight.dtype)
    return (grad_hidden.to(hidden.dtype) if wants_hidden else None), grad_weight


def _tiles(hidden: Tensor, weight: Tensor, plan: Plan) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """Yield start, stop, scaled logits (N, K) with banned columns at -inf, and weight rows (K, D).

    The logits are one buffer, written anew for every tile: use them up before asking for the next.
    """
    operand = _operand(hidden)
    dtype = _accumulator(plan.tile_dtype)
    buffer = hidden.new_empty(hidden.shape[0] * plan.columns, dtype=dtype)
    for start, stop in plan.tiles():
        # an fp32 master is rounded like the weights the forward used; both casts are often no-ops
        rows = weight[start:stop].to(hidden.dtype).to(operand.dtype)
        logits = buffer[: hidden.shape[0] * (stop - start)].view(-1, stop - start)
        _product(operand, rows.t(), dtype, out=logits)
        if plan.tile_dtype != dtype:
            logits.copy_(logits.to(plan.tile_dtype))
        if plan.temperature != 1:
            logits.mul_(1 / plan.temperature)
        _fill(logits, plan.banned_in(start, stop), -torch.inf)
        yield start, stop, logits, rows


def _operand(hidden: Tensor) -> Tensor:
    # CPUs have no product of bf16 numbers with an fp32 result, and few are faster in bf16
    return hidden.float() if hidden.dtype == torch.bfloat16 and not hidden.is_cuda else hidden


def _product(a: Tensor, b: Tensor, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
    """Return a @ b, summed in at least float32 and given as ``dtype``."""
    if a.dtype == dtype:
        return torch.mm(a, b, out=out)
    if a.dtype == torch.bfloat16:  # on CUDA only, see _operand
        return torch.mm(a, b, out_dtype=dtype, out=out)
    return torch.mm(a, b).to(dtype)


def _accumulator(tile_dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(tile_dtype, torch.float32)


def _target_columns(targets: Tensor, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Return whether each target is in columns [start, stop), and its column, or some valid one."""
    column = targets - start
    return (column >= 0) & (column < stop - start), column.clamp(0, stop - start - 1)


def _is_banned(targets: Tensor, plan: Plan) -> Tensor:
    banned = torch.zeros_like(targets, dtype=torch.bool)
    for low, high in plan.banned_runs:
        banned |= (targets >= low) & (targets < high)
    return banned


def _fill(tile: Tensor, runs: list[tuple[int, int]], value: float) -> None:
    for low, high in runs:
        tile[:, low:high] = value
