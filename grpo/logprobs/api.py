"""The log-prob op as the project calls it: arguments checked, shapes flattened, defaults filled in.

Shapes in this file: N scored tokens (leading dimensions of ``hidden``, flattened), D hidden size,
V vocabulary.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from grpo.logprobs.backends import check_backend
from grpo.logprobs.ops import logits_logprobs_op, score_logits, token_logprobs_op

TILE_BYTES = {"cuda": 256 * 2**20, "cpu": 16 * 2**20}  # of logits, where none are given
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
        temperature: from 1e-20 to 1e20.
        banned_ids: ids of probability 0 (vision placeholders, rows beyond the tokenizer); best
            neighbours, and not a CUDA tensor, whose reading would wait for the device.
        ignore_index: target of rows to leave out: log-prob, entropy and gradient 0.
        tile_dtype: of the logits while they last: float32 by default; bfloat16 with bfloat16 hidden
            halves their memory and errs by up to 0.1 nat; float64 for float64.
        tile_bytes: size of one tile of logits, 16 MiB by default, 256 MiB on CUDA; up to two more
            live beside it, half a one with the kernels. Moves results in the last digits only.
        backend: "cuda", the kernels of grpo/logprobs/cuda; "torch", plain PyTorch on any device;
            "auto", the former on a GPU and else the latter.

    Returns:
        logprobs (...), none of them above 0, and entropy (...) or None; float32, or float64 for
        float64 hidden.

    Raises:
        ValueError: shapes or devices that do not fit, temperature, banned_ids, tile_bytes or
            backend out of range.
        TypeError: dtypes other than the above.
        IndexError: a target that is banned or outside the vocabulary. On CUDA, where looking would
            wait for the device, its log-prob is NaN instead, of finite gradient: let the NaN reach
            the loss.
        RuntimeError: ``backend="cuda"`` without a GPU or NVRTC, or where the kernels do not
            compile, with the compiler's log. "auto" falls back to "torch" with one warning.

    >>> hidden, weight = torch.zeros(2, 3), torch.ones(4, 3)
    >>> logprobs, entropy = token_logprobs(hidden, weight, torch.tensor([0, 3]), with_entropy=True)
    >>> logprobs.exp(), entropy.exp()
    (tensor([0.2500, 0.2500]), tensor([4., 4.]))
    """
    check_backend(backend)
    _check_tensors(hidden, weight, targets)
    _check_temperature(temperature)
    if tile_bytes is None:
        tile_bytes = TILE_BYTES["cuda" if hidden.is_cuda else "cpu"]
    # An operator takes tensors, numbers and lists of them: what torch.compile keeps whole.
    logprobs, entropy, _ = token_logprobs_op(
        hidden.reshape(-1, hidden.shape[-1]),
        weight,
        targets.reshape(-1),
        float(temperature),
        with_entropy,
        [] if banned_ids is None else [int(token_id) for token_id in banned_ids],
        ignore_index,
        _checked_tile_dtype(tile_dtype, hidden.dtype),
        tile_bytes,
        backend,
    )
    entropy = entropy.view(targets.shape) if with_entropy else None
    return logprobs.view(targets.shape), entropy


def logits_logprobs(
    logits: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    with_entropy: bool = False,
    ignore_index: int = -100,
    weights: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor | None]:
    """Return the targets' log-probabilities, and entropies if asked, under logits that exist.

    They are what `token_logprobs` computes from hidden states, for the one place where logits exist
    whole: the sampler's single step. No gradient.

    Args:
        logits: (..., V) float32, bfloat16 or float64, banned columns at -inf; not written to.
        targets: (...) int64 token ids.
        temperature, with_entropy, ignore_index, backend: see `token_logprobs`.
        weights: (..., V), exp(logits) at temperature 1 of logits whose largest is 0 in each row,
            where the caller has them: plain PyTorch then exponentiates nothing; kernels have no use
            for them.

    Returns:
        logprobs (...) and entropy (...) or None; float32, float64 for float64 logits.

    Raises:
        ValueError, TypeError, IndexError, RuntimeError: see `token_logprobs`. A target whose logit
            is -inf is NaN.

    >>> logprobs, _ = logits_logprobs(torch.tensor([[0.0, float("-inf"), 0.0]]), torch.tensor([2]))
    >>> logprobs.exp()
    tensor([0.5000])
    """
    check_backend(backend)
    _check_logits(logits, targets)
    _check_temperature(temperature)
    if weights is not None and (temperature != 1 or weights.shape != logits.shape):
        raise ValueError(
            f"weights must be exp(logits) at temperature 1, {tuple(logits.shape)}: got"
            f" {tuple(weights.shape)} at temperature {temperature}"
        )
    # without a graph to keep whole, the operator's own cost (0.2 ms on a CPU) buys nothing
    score = logits_logprobs_op if torch.compiler.is_compiling() else score_logits
    logprobs, entropy = score(
        logits.detach().reshape(-1, logits.shape[-1]),
        targets.reshape(-1),
        float(temperature),
        with_entropy,
        ignore_index,
        backend,
        None if weights is None else weights.detach().reshape(-1, logits.shape[-1]),
    )
    entropy = entropy.view(targets.shape) if with_entropy else None
    return logprobs.view(targets.shape), entropy


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
    _check_ids(targets)


def _check_logits(logits: Tensor, targets: Tensor) -> None:
    if logits.dim() < 1 or logits.shape[-1] < 1 or targets.shape != logits.shape[:-1]:
        raise ValueError(
            "logits must have shape (..., V) with V at least 1, and targets their leading shape:"
            f" got {tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    if logits.device != targets.device:
        raise ValueError(
            f"logits and targets must be on one device: got {logits.device}, {targets.device}"
        )
    if logits.dtype not in _TILE_DTYPES:
        raise TypeError(f"logits must be float32, bfloat16 or float64, got {logits.dtype}")
    _check_ids(targets)


def _check_ids(targets: Tensor) -> None:
    if targets.dtype != torch.int64:
        raise TypeError(f"targets must be int64 token ids, got {targets.dtype}")


def _check_temperature(temperature: float) -> None:
    # beyond these, 1 / temperature or a scaled logit may have no normal float32
    if not 1e-20 <= temperature <= 1e20:
        raise ValueError(
            f"temperature must be finite and above 0 (1e-20 to 1e20), got {temperature}"
        )


def _checked_tile_dtype(tile_dtype: torch.dtype | None, dtype: torch.dtype) -> torch.dtype:
    choices = _TILE_DTYPES[dtype]
    if tile_dtype is not None and tile_dtype not in choices:
        raise TypeError(f"tile_dtype of {dtype} hidden must be one of {choices}, got {tile_dtype}")
    return tile_dtype or choices[0]
