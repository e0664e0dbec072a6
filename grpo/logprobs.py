"""Log-probabilities of tokens straight from hidden states: no (N, V) tensor of logits, ever.

With V = 151,936 the logits of 8,192 tokens take 5 GB, and the plain path (logits, log_softmax,
gather) three times that. Here the vocabulary passes by in tiles, forward and backward; what stays
for the backward is references and a few floats per token.

Shapes in this file: N scored tokens (leading dimensions of ``hidden``, flattened), D hidden size,
V vocabulary.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from grpo import logprobs_torch
from grpo.logprobs_plan import Plan, id_runs, tile_columns

BACKENDS = ("auto", "torch", "cuda")
_TILE_BYTES = {"cuda": 256 * 2**20, "cpu": 16 * 2**20}
_TILE_DTYPES = {  # hidden's dtype -> tiles it may have, the default first
    torch.float32: (torch.float32,),
    torch.bfloat16: (torch.float32, torch.bfloat16),
    torch.float64: (torch.float64,),
}


def token_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    with_entropy: bool = False,
    banned_ids: Iterable[int] | None = None,
    ignore_index: int = -100,
    tile_dtype: torch.dtype | None = None,
    tile_bytes: int | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor | None]:
    """Return the log-probability of every target, and the entropy of its distribution if asked.

        z = hidden weight^T / temperature, banned columns at -inf
        logprobs = z[target] - logsumexp(z)        entropy = -sum(p log p), p = softmax(z)

    Both are differentiable in ``hidden`` and ``weight``, once. The distribution is the one that was
    sampled from only if temperature and bans are those of the sampler.

    Args:
        hidden: (..., D) float32, bfloat16 or float64; finite.
        weight: (V, D), the output embedding, of hidden's dtype; or float32 with bfloat16 hidden,
            whose rows are then rounded tile by tile.
        targets: (...) int64 token ids.
        temperature: finite, above 0.
        banned_ids: ids of probability 0 (vision placeholders, rows beyond the tokenizer); best
            neighbours, and not a CUDA tensor, whose reading would wait for the device.
        ignore_index: target of rows to leave out: log-prob, entropy and gradient 0.
        tile_dtype: of the logits while they last: float32 by default; bfloat16 with bfloat16 hidden
            halves their memory and errs by up to 0.1 nat; float64 for float64.
        tile_bytes: size of one tile of logits, 16 MiB by default, 256 MiB on CUDA. Up to two more
            of its size live beside it. Changes memory and speed; results only in the last digits.
        backend: "torch", or "auto", which takes the fastest there is.

    Returns:
        logprobs (...) and entropy (...) or None; float32, float64 for float64 hidden. No log-prob
        is above 0.

    Raises:
        ValueError: shapes or devices that do not fit, temperature, banned_ids, tile_bytes or
            backend out of range.
        TypeError: dtypes other than the above.
        IndexError: a target that is banned or outside the vocabulary. On CUDA, where looking would
            wait for the device, that row is NaN instead.
        RuntimeError: ``backend="cuda"`` where its kernels are missing.

    >>> hidden, weight = torch.zeros(2, 3), torch.ones(4, 3)
    >>> logprobs, entropy = token_logprobs(hidden, weight, torch.tensor([0, 3]), with_entropy=True)
    >>> logprobs.exp(), entropy.exp()
    (tensor([0.2500, 0.2500]), tensor([4., 4.]))
    """
    _check_backend(backend)
    _check_tensors(hidden, weight, targets)
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be finite and above 0, got {temperature}")
    tile_dtype = _checked_tile_dtype(tile_dtype, hidden.dtype)
    num_tokens, vocab_size = targets.numel(), weight.shape[0]
    if tile_bytes is None:
        tile_bytes = _TILE_BYTES["cuda" if hidden.is_cuda else "cpu"]
    plan = Plan(
        vocab_size=vocab_size,
        columns=tile_columns(num_tokens, vocab_size, tile_bytes, tile_dtype.itemsize),
        tile_dtype=tile_dtype,
        temperature=float(temperature),
        with_entropy=with_entropy,
        banned_runs=id_runs(() if banned_ids is None else banned_ids, vocab_size),
        ignore_index=ignore_index,
    )
    flat_targets = targets.reshape(-1)
    if not targets.is_cuda:
        _check_targets(flat_targets, plan)
    flat_hidden = hidden.reshape(-1, hidden.shape[-1])
    logprobs, entropy, _ = _TokenLogprobs.apply(flat_hidden, weight, flat_targets, plan)
    entropy = entropy.view(targets.shape) if with_entropy else None
    return logprobs.view(targets.shape), entropy


class _TokenLogprobs(torch.autograd.Function):
    """Saves references to the inputs, and two floats per token."""

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor, plan: Plan):
        logprobs, entropy, lse = logprobs_torch.forward(hidden, weight, targets, plan)
        ctx.save_for_backward(hidden, weight, targets, entropy, lse)
        ctx.plan = plan
        ctx.mark_non_differentiable(lse)
        ctx.set_materialize_grads(False)  # None, not zeros, where entropy is not used
        return logprobs, entropy, lse

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_logprobs: Tensor | None, grad_entropy: Tensor | None, _grad_lse: None):
        grad_hidden, grad_weight = logprobs_torch.backward(
            grad_logprobs,
            grad_entropy if ctx.plan.with_entropy else None,
            *ctx.saved_tensors,
            ctx.plan,
            wants_hidden=ctx.needs_input_grad[0],
            wants_weight=ctx.needs_input_grad[1],
        )
        return grad_hidden, grad_weight, None, None


def _check_backend(backend: str) -> None:
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}: use one of {BACKENDS}")
    if backend == "cuda":
        raise RuntimeError(
            "backend='cuda' needs kernels that this version does not have: use 'auto' or 'torch',"
            " which runs on CUDA too"
        )


def _check_tensors(hidden: Tensor, weight: Tensor, targets: Tensor) -> None:
    shapes = f"hidden {tuple(hidden.shape)}, weight {tuple(weight.shape)}"
    if weight.dim() != 2 or weight.shape[0] < 1:
        raise ValueError(f"weight must have shape (V, D) with V at least 1: got {shapes}")
    if hidden.dim() < 1 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(f"hidden must have shape (..., D) with weight's D: got {shapes}")
    if targets.shape != hidden.shape[:-1]:
        raise ValueError(
            f"targets must have hidden's leading shape, one id per state: got {shapes}, targets"
            f" {tuple(targets.shape)}"
        )
    if not hidden.device == weight.device == targets.device:
        raise ValueError(
            f"hidden, weight and targets must be on one device: got {hidden.device},"
            f" {weight.device}, {targets.device}"
        )
    if hidden.dtype not in _TILE_DTYPES:
        raise TypeError(f"hidden must be float32, bfloat16 or float64, got {hidden.dtype}")
    is_master = hidden.dtype == torch.bfloat16 and weight.dtype == torch.float32
    if weight.dtype != hidden.dtype and not is_master:
        raise TypeError(
            f"weight must have hidden's dtype {hidden.dtype}, or be a float32 master of bfloat16:"
            f" got {weight.dtype}"
        )
    if targets.dtype != torch.int64:
        raise TypeError(f"targets must be int64 token ids, got {targets.dtype}")


def _checked_tile_dtype(tile_dtype: torch.dtype | None, dtype: torch.dtype) -> torch.dtype:
    choices = _TILE_DTYPES[dtype]
    if tile_dtype is not None and tile_dtype not in choices:
        raise TypeError(f"tile_dtype of {dtype} hidden must be one of {choices}, got {tile_dtype}")
    return tile_dtype or choices[0]


def _check_targets(targets: Tensor, plan: Plan) -> None:
    wrong = (targets < 0) | (targets >= plan.vocab_size)
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
