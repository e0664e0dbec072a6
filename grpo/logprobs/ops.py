"""The operators `groupwise::token_logprobs` and `groupwise::logits_logprobs`.

Registered with torch.library, so that torch.compile takes them as they are: each has a fake
implementation that tells shapes, and the first a backward, itself an operator. An operator returns
plain tensors, so an entropy that nobody asked for has size 0. What depends on values, range checks
included, happens in here, where it cannot break a graph.

Shapes in this file: N tokens, D hidden size, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from grpo.logprobs import tiles
from grpo.logprobs.backends import choose_backend, get_backend
from grpo.logprobs.tile_plan import TilePlan, id_runs, tile_shape


@torch.library.custom_op("groupwise::token_logprobs", mutates_args=())
def token_logprobs_op(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    temperature: float,
    with_entropy: bool,
    banned_ids: list[int],
    ignore_index: int,
    tile_dtype: torch.dtype,
    tile_bytes: int,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probs (N,), entropies (N,) or (0,), and log-sum-exps (N,).

    The arguments are those of `token_logprobs`, checked and flattened: hidden (N, D).
    """
    plan = _plan(
        *(hidden, weight, temperature, with_entropy, banned_ids),
        *(ignore_index, tile_dtype, tile_bytes),
    )
    # There, looking would wait for the device: a bad row comes out NaN.
    if not targets.is_cuda:  # pragma: no branch - needs a GPU
        _check_targets(targets, plan)
    chosen = _backend(backend, hidden)
    return tiles.forward(chosen, hidden, weight, targets.contiguous(), plan)


@token_logprobs_op.register_fake
def _(
    hidden: Tensor,
    _weight: Tensor,
    _targets: Tensor,
    _temperature: float,
    with_entropy: bool,
    _banned_ids: list[int],
    _ignore_index: int,
    tile_dtype: torch.dtype,
    *_rest: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return empty tensors of the forward operator's shapes and dtypes."""
    # Results are at least float32 whatever the tiles are: sums over the vocabulary need its digits.
    dtype = torch.promote_types(tile_dtype, torch.float32)
    logprobs = hidden.new_empty(hidden.shape[0], dtype=dtype)  # (N,)
    entropies = hidden.new_empty(hidden.shape[0] if with_entropy else 0, dtype=dtype)
    return logprobs, entropies, torch.empty_like(logprobs)


@torch.library.custom_op("groupwise::token_logprobs_backward", mutates_args=())
def token_logprobs_backward_op(
    grad_logprobs: Tensor | None,
    grad_entropy: Tensor | None,
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    entropy: Tensor,
    lse: Tensor,
    wants_hidden: bool,
    wants_weight: bool,
    temperature: float,
    banned_ids: list[int],
    ignore_index: int,
    tile_dtype: torch.dtype,
    tile_bytes: int,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of hidden (N, D) and weight (V, D), each of size 0 if not wanted."""
    # An entropy that nobody differentiates is not carried through the tiles again.
    with_entropy = grad_entropy is not None
    plan = _plan(
        *(hidden, weight, temperature, with_entropy, banned_ids),
        *(ignore_index, tile_dtype, tile_bytes),
    )
    rows = tiles.RowsForBackward(
        targets=targets.contiguous(),
        lse=lse,
        entropy=entropy if with_entropy else None,
        grad_entropy=None if grad_entropy is None else grad_entropy.contiguous(),
        grad_logprobs=None if grad_logprobs is None else grad_logprobs.contiguous(),
    )
    grad_hidden, grad_weight = tiles.backward(
        _backend(backend, hidden),
        *(hidden, weight, rows, plan),
        wants_hidden=wants_hidden,
        wants_weight=wants_weight,
    )
    return (
        hidden.new_empty(0) if grad_hidden is None else grad_hidden,
        weight.new_empty(0) if grad_weight is None else grad_weight,
    )


@token_logprobs_backward_op.register_fake
def _(
    _grad_logprobs: Tensor | None,
    _grad_entropy: Tensor | None,
    hidden: Tensor,
    weight: Tensor,
    _targets: Tensor,
    _entropy: Tensor,
    _lse: Tensor,
    wants_hidden: bool,
    wants_weight: bool,
    *_rest: Any,
) -> tuple[Tensor, Tensor]:
    """Return empty tensors of the backward operator's shapes and dtypes."""
    return (
        torch.empty_like(hidden) if wants_hidden else hidden.new_empty(0),
        torch.empty_like(weight) if wants_weight else weight.new_empty(0),
    )


def _save_for_backward(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    """Keep references to the inputs, and two floats per token."""
    # The log-sum-exp is enough to have every probability again from its logit.
    hidden, weight, targets, temperature, with_entropy, *rest = inputs
    _logprobs, entropy, lse = output
    ctx.save_for_backward(hidden, weight, targets, entropy, lse)
    ctx.temperature, ctx.with_entropy, ctx.rest = temperature, with_entropy, rest
    ctx.mark_non_differentiable(lse)
    ctx.set_materialize_grads(False)  # None, not zeros, where the entropy is not used


def _backward(
    ctx: Any, grad_logprobs: Tensor | None, grad_entropy: Tensor | None, _lse: None
) -> tuple[Tensor | None, ...]:
    """Return the gradients of hidden and weight, None for every other argument."""
    wants = ctx.needs_input_grad[:2]
    gradients = token_logprobs_backward_op(
        grad_logprobs,
        grad_entropy if ctx.with_entropy else None,
        *ctx.saved_tensors,
        *wants,
        ctx.temperature,
        *ctx.rest,
    )
    # An operator cannot return None: what was not wanted came back with size 0.
    found = (gradient if want else None for gradient, want in zip(gradients, wants, strict=True))
    return *found, *[None] * (3 + len(ctx.rest))


token_logprobs_op.register_autograd(_backward, setup_context=_save_for_backward)


def score_logits(
    logits: Tensor,
    targets: Tensor,
    temperature: float,
    with_entropy: bool,
    ignore_index: int,
    backend: str,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return log-probs (N,) and entropies (N,) or (0,) of existing logits (N, V)."""
    num_tokens, vocab_size = logits.shape
    # The logits are there, so one tile is all of them; bans are at -inf in it already.
    plan = TilePlan(
        num_tokens=num_tokens,
        vocab_size=vocab_size,
        tokens=num_tokens,
        columns=vocab_size,
        tile_dtype=logits.dtype,
        temperature=temperature,
        with_entropy=with_entropy,
        banned_runs=(),
        ignore_index=ignore_index,
    )
    if not targets.is_cuda:  # pragma: no branch - needs a GPU
        _check_targets(targets, plan)
    if num_tokens == 0:
        nothing = logits.new_empty(0, dtype=torch.promote_types(logits.dtype, torch.float32))
        return nothing, nothing.clone()
    return _backend(backend, logits).score(logits, targets.contiguous(), plan, weights)


logits_logprobs_op = torch.library.custom_op(
    "groupwise::logits_logprobs", score_logits, mutates_args=()
)


@logits_logprobs_op.register_fake
def _(
    logits: Tensor, _targets: Tensor, _temperature: float, with_entropy: bool, *_rest: Any
) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(logits.dtype, torch.float32)
    logprobs = logits.new_empty(logits.shape[0], dtype=dtype)  # (N,)
    return logprobs, logits.new_empty(logits.shape[0] if with_entropy else 0, dtype=dtype)


def _backend(name: str, tensor: Tensor) -> tiles.Backend:
    """Return the backend that runs where this tensor is, in its dtype."""
    chosen, _why = choose_backend(name, tensor.device, tensor.dtype)
    return get_backend(chosen, tensor.device)


def _plan(
    hidden: Tensor,
    weight: Tensor,
    temperature: float,
    with_entropy: bool,
    banned_ids: Sequence[int],
    ignore_index: int,
    tile_dtype: torch.dtype,
    tile_bytes: int,
) -> TilePlan:
    """Return how this call is cut into tiles of at most ``tile_bytes``."""
    num_tokens, vocab_size = len(hidden), len(weight)
    tokens, columns = tile_shape(num_tokens, vocab_size, tile_bytes, tile_dtype.itemsize)
    return TilePlan(
        num_tokens=num_tokens,
        vocab_size=vocab_size,
        tokens=tokens,
        columns=columns,
        tile_dtype=tile_dtype,
        temperature=temperature,
        with_entropy=with_entropy,
        banned_runs=id_runs(tuple(banned_ids), vocab_size),
        ignore_index=ignore_index,
    )


def _check_targets(targets: Tensor, plan: TilePlan) -> None:
    """Raise an IndexError for a target, (N,), that is banned or outside the vocabulary."""
    # Unchecked, such a row would come out NaN, without a word about which one it is.
    wrong = (targets < 0) | (targets >= plan.vocab_size)  # (N,)
    for low, high in plan.banned_runs:
        wrong |= (targets >= low) & (targets < high)
    wrong &= targets != plan.ignore_index
    if wrong.any():
        row = int(wrong.nonzero()[0, 0])
        raise IndexError(
            f"target {int(targets[row])} of token {row} is banned or outside the vocabulary of"
            f" {plan.vocab_size} ids ({int(wrong.sum())} such targets): mark rows without a target"
            f" with ignore_index {plan.ignore_index}"
        )
