"""What happens to one tile of logits, in plain PyTorch.

The product path on a CPU, the fallback on CUDA, and the oracle of the kernels in
grpo/logprobs/cuda. A row's state is the online softmax of Milakov and Gimelshein (arXiv:1805.02867)
with the entropy's sum beside it.

Shapes in this file: B tokens and K columns of a tile.
"""

import torch
from torch import Tensor

from grpo.logprobs.tile_plan import TilePlan
from grpo.logprobs.tiles import Backend, RowsForBackward

# A log-probability so low that its exp is 0 in every dtype; of banned columns it takes the place of
# -inf wherever 0 * -inf would be NaN.
_NOTHING = -1e4


class TorchRows:
    """Online softmax of a block of tokens: four numbers per token stand for all tiles so far.

    With z the scaled logits, top their running maximum and picked the target's z:

        total     sum of exp(z - top)                    logprob = picked - top - log(total)
        moment    sum of exp(z - top) * (z - top)        entropy = log(total) - moment / total
    """

    def __init__(self, targets: Tensor, plan: TilePlan) -> None:
        dtype = torch.promote_types(plan.tile_dtype, torch.float32)
        # the lowest finite number, not -inf: -inf - -inf would poison a row whose first tile is
        # banned
        lowest = torch.finfo(dtype).min
        self._top = torch.full_like(targets, lowest, dtype=dtype)  # (B,)
        self._total, self._moment = torch.zeros_like(self._top), torch.zeros_like(self._top)  # (B,)
        self._picked = torch.full_like(self._top, torch.nan)  # (B,)
        self._targets, self._plan = targets, plan

    def fold(self, logits: Tensor, start: int) -> None:
        """Take in (B, K) unscaled logits of columns from ``start`` on; they are overwritten."""
        z = _scaled(logits, self._plan.temperature)  # (B, K)
        top = torch.maximum(self._top, z.amax(dim=1))  # (B,)
        # each target stands in one tile: there its logit is picked
        inside, column = _target_columns(self._targets, start, z.shape[1])
        self._picked = torch.where(inside, z.gather(1, column[:, None])[:, 0], self._picked)

        # the sums so far are relative to the maximum so far: rescaled where it has risen
        shifted, rise = z.sub_(top[:, None]), self._top - top  # (B, K), (B,)
        rescale = rise.exp()  # (B,)
        if self._plan.with_entropy:
            exps = shifted.exp()  # (B, K)
            shifted.clamp_(min=_NOTHING)
            moment = (self._moment + self._total * rise) * rescale
            self._moment = moment + shifted.mul_(exps).sum(dim=1)
        else:
            exps = shifted.exp_()  # (B, K)
        self._total = self._total * rescale + exps.sum(dim=1)
        self._top = top

    def finish(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-probs (B,), entropies (B,) or (0,), and log-sum-exps (B,)."""
        log_total = self._total.log()  # (B,)
        ignored = self._targets == self._plan.ignore_index  # (B,)
        # top - picked >= 0 and total >= 1 exactly: no log-prob comes out above 0
        logprobs = (self._picked - self._top - log_total).masked_fill_(
            self._picked == -torch.inf,
            torch.nan,  # a banned target
        )
        entropy = log_total.new_empty(0)
        if self._plan.with_entropy:
            entropy = (log_total - self._moment / self._total).masked_fill_(ignored, 0.0)
        return logprobs.masked_fill_(ignored, 0.0), entropy, self._top + log_total


def grad_logits(
    logits: Tensor, start: int, rows: RowsForBackward, plan: TilePlan, dtype: torch.dtype
) -> Tensor:
    """Return the gradient (B, K) of a tile of logits, in their place.

    On CUDA it is rounded to ``dtype``, so that the tensor cores multiply it.

        d logprob / d z[v] = 1[v = target] - p[v]        d entropy / d z[v] = -p[v] (log p[v] + H)

    The unscaled logits' gradient has one more 1 / temperature.
    """
    ignored = rows.targets == plan.ignore_index  # (B,)

    def upstream(grad: Tensor | None) -> Tensor:
        """Return the result's gradient over the temperature, (B,): 0 at ignored rows."""
        grad = torch.zeros_like(rows.lse) if grad is None else grad
        return (grad / plan.temperature).masked_fill(ignored, 0.0)  # (B,)

    # p is made again from the logits and the forward's log-sum-exp. The one-hot part comes last:
    # one number per row, added where the target's column is in this tile.
    of_logprob = upstream(rows.grad_logprobs)  # (B,)
    log_p = _scaled(logits, plan.temperature).sub_(rows.lse[:, None])  # (B, K)
    if rows.grad_entropy is None or rows.entropy is None:
        grad = log_p.exp_().mul_(-of_logprob[:, None])  # (B, K)
    else:
        # (grad_entropy (log p + H) + grad_logprob) times -p, in the memory of the logits.
        p = log_p.exp()  # (B, K)
        pull = log_p.clamp_(min=_NOTHING).add_(rows.entropy[:, None])
        pull.mul_(upstream(rows.grad_entropy)[:, None]).add_(of_logprob[:, None])
        grad = pull.mul_(p).neg_()
    inside, column = _target_columns(rows.targets, start, grad.shape[1])
    grad.scatter_add_(1, column[:, None], torch.where(inside, of_logprob, 0.0)[:, None])
    return grad.to(dtype) if grad.is_cuda else grad


def score_tile(
    logits: Tensor, targets: Tensor, plan: TilePlan, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return log-probs (B,) and entropies (B,) or (0,) of existing logits (B, V), only read.

    All columns are there, so this is a plain softmax: no running state, nothing rescaled.
    """
    if weights is None:
        z = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if plan.temperature != 1:
            z = z / plan.temperature
        shifted = z - z.amax(dim=1, keepdim=True)  # (B, V)
        exps = shifted.exp()
    else:
        shifted, exps = logits, weights  # the caller has shifted them already
    total = exps.sum(dim=1)  # (B,)
    log_total = total.log()  # (B,)
    # An ignored target may be no column at all: gather takes column 0, and the result is dropped.
    ignored = targets == plan.ignore_index  # (B,)
    picked = shifted.gather(1, targets.masked_fill(ignored, 0)[:, None])[:, 0]  # (B,)
    logprobs = (picked - log_total).masked_fill_(ignored, 0.0)
    entropy = log_total.new_empty(0)
    if plan.with_entropy:
        # A banned column would be -inf * 0: clamped, it is a finite number times 0.
        moment = shifted.clamp(min=_NOTHING).mul_(exps).sum(dim=1)  # (B,)
        entropy = (log_total - moment / total).masked_fill_(ignored, 0.0)
    return logprobs.masked_fill_(logprobs == -torch.inf, torch.nan), entropy


BACKEND = Backend(running_rows=TorchRows, score=score_tile, grad_logits=grad_logits)


def _scaled(logits: Tensor, temperature: float) -> Tensor:
    """Return z, in the logits' memory where they are wide enough to compute in."""
    z = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return z if temperature == 1 else z.mul_(1 / temperature)


def _target_columns(targets: Tensor, start: int, columns: int) -> tuple[Tensor, Tensor]:
    """Return whether each target is in the tile, and its column, or some valid one."""
    column = targets - start  # (B,)
    return (column >= 0) & (column < columns), column.clamp(0, columns - 1)
