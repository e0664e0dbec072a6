"""Varlen flash attention in plain loops: what models/shared/varlen.py calls where there is no GPU.

Sequence by sequence and head by head, in float64, with the textbook's formulas. It demands of its
arguments what the CUDA operators demand or silently take for granted, so that a call which works
here has the right layout there.

Shapes: S sequences, T_q queries, T_k keys, H query heads, Hkv key/value heads, d head size.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from models.shared.flash import Flash, Segments


def slow_forward(query, key, value, queries, keys, *, causal, scale):
    """Return read (T_q, H, d) in the query's dtype and lse (H, T_q), float32 unless given float64.

    A query without keys would give NaN here, +inf there: refused.
    """
    demand_layout(query, key, value, queries, keys, causal)
    read = torch.full(query.shape, torch.nan, dtype=torch.float64)
    lse = torch.full(query.shape[1::-1], torch.nan, dtype=torch.float64)  # (H, T_q)
    for q, k, head, key_head in each(query, key, queries, keys):
        scores = visible_scores(query[q, head], key[k, key_head], causal, scale)
        lse[head, q] = scores.logsumexp(dim=1)
        read[q, head] = scores.softmax(dim=1) @ value[k, key_head].double()
    return read.to(query.dtype), lse.to(lse_dtype(query))


def slow_backward(grad, query, key, value, read, lse, queries, keys, *, causal, scale):
    """Return the gradients: p = exp(score - lse), dv = p^T g, ds = p (g v^T - sum(g read))."""
    demand_layout(query, key, value, queries, keys, causal)
    assert grad.shape == read.shape == query.shape
    assert lse.shape == query.shape[1::-1] and lse.dtype == lse_dtype(query)
    assert lse.is_contiguous(), "the kernel walks the lse by T_q, whatever its strides are"
    wanted = query, key, value
    grad_query, grad_key, grad_value = (torch.zeros(t.shape, dtype=torch.float64) for t in wanted)
    for q, k, head, key_head in each(query, key, queries, keys):
        scores = visible_scores(query[q, head], key[k, key_head], causal, scale)
        p = (scores - lse[head, q, None].double()).exp()
        g = grad[q, head].double()
        shares = (g * read[q, head].double()).sum(dim=1, keepdim=True)
        ds = p * (g @ value[k, key_head].double().T - shares) * scale
        grad_value[k, key_head] += p.T @ g
        grad_query[q, head] += ds @ key[k, key_head].double()
        grad_key[k, key_head] += ds.T @ query[q, head].double()
    made = zip((grad_query, grad_key, grad_value), wanted, strict=True)
    return tuple(tensor.to(like.dtype) for tensor, like in made)


def lse_dtype(query: Tensor) -> torch.dtype:
    """float32, as the kernels give; float64 for gradcheck."""
    return torch.promote_types(query.dtype, torch.float32)


def visible_scores(query: Tensor, key: Tensor, causal: bool, scale: float) -> Tensor:
    scores = query.double() @ key.double().T * scale
    hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, -torch.inf) if causal else scores


def each(
    query: Tensor, key: Tensor, queries: Segments, keys: Segments
) -> Iterator[tuple[slice, slice, int, int]]:
    """Yield the queries, keys, query head and key head of each sequence in turn."""
    per_key = query.shape[1] // key.shape[1]
    for sequence in range(len(queries.bounds) - 1):
        q = slice(*queries.bounds[sequence : sequence + 2].tolist())
        k = slice(*keys.bounds[sequence : sequence + 2].tolist())
        for head in range(query.shape[1]):
            yield q, k, head, head // per_key


def demand_layout(query, key, value, queries, keys, causal) -> None:
    """Check what mha_varlen_fwd and mha_varlen_bwd of FlashAttention check or rely on."""
    assert query.dtype == key.dtype == value.dtype
    assert all(tensor.dim() == 3 and tensor.stride(2) == 1 for tensor in (query, key, value))
    assert key.shape == value.shape and query.shape[1] % key.shape[1] == 0
    for segments, total in ((queries, len(query)), (keys, len(key))):
        assert segments.bounds.dtype == torch.int32 and segments.bounds.is_contiguous()
        lengths = segments.bounds.diff()
        assert segments.bounds[0] == 0 and segments.bounds[-1] == total and lengths.min() >= 0
        assert segments.longest == lengths.max()
    q, k = queries.bounds.diff(), keys.bounds.diff()
    assert len(q) == len(k) and (k[q > 0] > 0).all()
    assert not causal or torch.equal(q, k)


SLOW = Flash(slow_forward, slow_backward)
