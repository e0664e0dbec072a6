"""The log-prob op tile by tile: the matrix products of forward and backward, for every backend.

    for each chunk of the vocabulary, for each block of tokens:
        logits = hidden[block] @ weight[chunk].T        one matrix product
        rows of logits -> running states, or -> their gradient        the backend's part

The backward computes every tile again instead of keeping it. A chunk of the weight's gradient is
one matrix product (per block of tokens); the hidden states' gradient adds up in float32.

Shapes in this file: N tokens, D hidden size, V vocabulary; B tokens and K columns of a tile.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from grpo.logprobs.tile_plan import Span, TilePlan


class RunningRows(Protocol):
    """Online softmax of a block of tokens, told of one chunk of the vocabulary after another."""

    def fold(self, logits: Tensor, start: int) -> None:
        """Take in (B, K) unscaled logits of columns from ``start`` on; may overwrite them."""

    def finish(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-probs (B,), entropies (B,) or (0,) without them, and log-sum-exps (B,).

        A row whose target is out of range or banned is NaN; an ignored one is 0.
        """


@dataclass(frozen=True)
class RowsForBackward:
    """What a block of tokens brings to the gradient of its logits; all (B,)."""

    targets: Tensor
    lse: Tensor
    entropy: Tensor | None  # these two only if the entropy's gradient is wanted
    grad_entropy: Tensor | None
    grad_logprobs: Tensor | None

    def block(self, tokens: Span) -> "RowsForBackward":
        """Return these tensors cut to tokens [start, stop)."""
        inside = slice(*tokens)
        return RowsForBackward(
            targets=self.targets[inside],
            lse=self.lse[inside],
            entropy=None if self.entropy is None else self.entropy[inside],
            grad_entropy=None if self.grad_entropy is None else self.grad_entropy[inside],
            grad_logprobs=None if self.grad_logprobs is None else self.grad_logprobs[inside],
        )


@dataclass(frozen=True)
class Backend:
    """The part of the work that is not a matrix product."""

    running_rows: Callable[[Tensor, TilePlan], RunningRows]  # from targets (B,)
    # (logits (B, V), targets (B,), plan, their exp or None) -> log-probs and entropies of existing
    # logits, only read
    score: Callable[[Tensor, Tensor, TilePlan, Tensor | None], tuple[Tensor, Tensor]]
    # (logits (B, K), first column, rows, plan, dtype) -> gradient of the logits (B, K), in that
    # dtype or a wider one; may overwrite the logits
    grad_logits: Callable[[Tensor, int, RowsForBackward, TilePlan, torch.dtype], Tensor]


def forward(
    backend: Backend, hidden: Tensor, weight: Tensor, targets: Tensor, plan: TilePlan
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probs (N,), entropies (N,) or (0,), and log-sum-exps (N,)."""
    # A state per block of tokens: blocks are independent, chunks of a row are not.
    blocks = list(plan.token_blocks())
    states = [backend.running_rows(targets[slice(*tokens)], plan) for tokens in blocks]
    tiles = _Tiles(hidden, weight, plan)
    # chunks outside, blocks inside: the weight, the larger operand, is read once
    for chunk in plan.vocabulary_chunks():
        rows = tiles.weight_rows(chunk)  # (K, D)
        for tokens, state in zip(blocks, states, strict=True):
            state.fold(tiles.logits(tokens, rows, chunk), chunk[0])
    if not blocks:
        nothing = hidden.new_empty(0, dtype=_accumulator(plan.tile_dtype))
        return nothing, nothing.clone(), nothing.clone()
    parts = [state.finish() for state in states]
    logprobs, entropies, lses = (torch.cat(column) for column in zip(*parts, strict=True))
    return logprobs, entropies, lses


def backward(
    backend: Backend,
    hidden: Tensor,
    weight: Tensor,
    rows: RowsForBackward,
    plan: TilePlan,
    *,
    wants_hidden: bool,
    wants_weight: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of hidden (N, D) and weight (V, D), None where not wanted."""
    # The hidden states' gradient is a sum over chunks, so it is wide; of the weight's each row is
    # complete after its chunk.
    accumulator = _accumulator(plan.tile_dtype)
    grad_hidden = torch.zeros_like(hidden, dtype=accumulator) if wants_hidden else None
    grad_weight = torch.empty_like(weight) if wants_weight else None  # (V, D)
    blocks = list(plan.token_blocks())
    tiles = _Tiles(hidden, weight, plan)
    for chunk in plan.vocabulary_chunks():
        weight_rows = tiles.weight_rows(chunk)  # (K, D)
        total = None  # the chunk's rows of the weight's gradient
        if grad_weight is not None:
            total = _RowsOfGradient(grad_weight[slice(*chunk)], len(blocks))
        for tokens in blocks:
            # computed again rather than kept: all tiles together would be the (N, V) logits
            logits = tiles.logits(tokens, weight_rows, chunk)  # (B, K)
            grad_logits = backend.grad_logits(
                logits, chunk[0], rows.block(tokens), plan, hidden.dtype
            ).to(tiles.operand.dtype)  # (B, K)
            if grad_hidden is not None:
                _add_product(grad_hidden[slice(*tokens)], grad_logits, weight_rows)
            if total is not None:
                total.add(grad_logits.t(), tiles.operand[slice(*tokens)])
            del grad_logits  # else it would live beside the next one
        if total is not None:
            total.finish()
    return None if grad_hidden is None else grad_hidden.to(hidden.dtype), grad_weight


class _Tiles:
    """Makes tiles of logits, one after the other in the same memory."""

    def __init__(self, hidden: Tensor, weight: Tensor, plan: TilePlan) -> None:
        # CPUs have no product of bf16 numbers with an fp32 result, and few are faster in bf16
        upcast = hidden.dtype == torch.bfloat16 and not hidden.is_cuda
        self.operand = hidden.float() if upcast else hidden  # (N, D)
        self._hidden_dtype = hidden.dtype
        self._weight = weight
        self._plan = plan
        self._buffer = hidden.new_empty(plan.tokens * plan.columns, dtype=plan.tile_dtype)

    def weight_rows(self, chunk: Span) -> Tensor:
        """Return (K, D) of the operand's dtype; an fp32 master is rounded like the policy's."""
        return self._weight[slice(*chunk)].to(self._hidden_dtype).to(self.operand.dtype)

    def logits(self, tokens: Span, rows: Tensor, chunk: Span) -> Tensor:
        """Return (B, K) unscaled logits of the tile's dtype, banned columns at -inf."""
        # The last tile of a row or column is smaller: a view of the buffer's beginning.
        shape = (tokens[1] - tokens[0], len(rows))  # B, K
        logits = self._buffer[: shape[0] * shape[1]].view(shape)
        _product(self.operand[slice(*tokens)], rows.t(), out=logits)
        for low, high in self._plan.banned_in(*chunk):
            logits[:, low:high] = -torch.inf
        return logits


class _RowsOfGradient:
    """Rows (K, D) of the weight's gradient: written once, or added up in float32 over blocks."""

    def __init__(self, out: Tensor, num_blocks: int) -> None:
        self._out = out
        self._sum = None
        if num_blocks != 1:
            self._sum = torch.zeros_like(out, dtype=_accumulator(out.dtype))

    def add(self, a: Tensor, b: Tensor) -> None:
        """Add a @ b, (K, B) and (B, D): what one block of tokens gives."""
        if self._sum is None:
            _product(a, b, out=self._out)
        else:
            _add_product(self._sum, a, b)

    def finish(self) -> None:
        """Round the sum into the gradient, where there were several blocks."""
        if self._sum is not None:
            self._out.copy_(self._sum)


def _product(a: Tensor, b: Tensor, *, out: Tensor) -> None:
    """Write a @ b, summed in at least float32, rounded once to ``out``'s dtype."""
    if a.dtype == out.dtype:
        torch.mm(a, b, out=out)
    elif a.is_cuda:  # bf16 operands, fp32 result  # pragma: no cover - needs a GPU
        torch.mm(a, b, out_dtype=out.dtype, out=out)
    else:
        out.copy_(torch.mm(a, b))


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add a @ b to ``total``, which is at least as wide as the operands."""
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    elif _adds_products_of_bf16(total.device):
        torch.addmm(total, a, b, out_dtype=total.dtype, out=total)
    else:
        total += torch.mm(a, b, out_dtype=total.dtype)


@lru_cache  # per device: the answer waits for it, which nothing may do later
def _adds_products_of_bf16(device: torch.device) -> bool:
    """Return whether this torch adds a product of bf16 matrices to an fp32 one in place, rightly.

    Tried on whole numbers whose results float32 holds exactly and bfloat16 does not, both factors
    lying in memory as here and transposed, a second product on top of the first.
    """
    shape = (16, 32, 24)  # of three sizes: what is turned round does not fit
    left, right = (
        (torch.arange(rows * columns).reshape(rows, columns) * 7 % 31 - 15).float()
        for rows, columns in (shape[:2], shape[1:])
    )
    start = (torch.arange(shape[0] * shape[2]) % 513 + 1 / 64).reshape(shape[0], shape[2])
    expected = start + 2 * (left @ right)
    factors = [factor.to(device, torch.bfloat16) for factor in (left, right)]
    turned = [factor.t().contiguous().t() for factor in factors]
    total = start.to(device, copy=True)
    try:
        for a, b in (factors, turned):
            torch.addmm(total, a, b, out_dtype=torch.float32, out=total)
    except (RuntimeError, TypeError):
        return False
    if torch.equal(total.cpu(), expected):
        return True
    warnings.warn(
        f"torch.addmm(out_dtype=) of torch {torch.__version__} adds wrongly on {device}: it is not"
        " used; products are made and then added, with the same results in a little more memory",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which numbers of this one are summed: at least float32."""
    return torch.promote_types(dtype, torch.float32)
