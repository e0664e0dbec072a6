"""Queries that read the same keys, laid out as one longer query, and what they read laid back.

An attention kernel takes its keys once per batch entry and head, for as many queries as there are.
The H / Hkv query heads that share a key head, and the G rows that share a prompt, are therefore
folded into the query length: no key is copied.

Shapes: N prompts, G rows each, M = N * G rows, L queries of a row, S keys, H query heads, Hkv
key/value heads, r = H / Hkv, d head size.
"""

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def fold_heads(query: Tensor, kv_heads: int) -> Tensor:
    """Return (M, Hkv, r * L, d) of (M, H, L, d): heads outermost, then tokens."""
    return query.unflatten(1, (kv_heads, -1)).flatten(2, 3)


def unfold_heads(read: Tensor, length: int) -> Tensor:
    """Return (M, H, L, d) of (M, Hkv, r * L, d): the inverse of `fold_heads`, L = ``length``."""
    return read.unflatten(2, (-1, length)).flatten(1, 2)


def fold_rows(rows: Tensor, prompts: int) -> Tensor:
    """Return (N, Hkv, G * L, ...) of (M, Hkv, L, ...), N = ``prompts``: a prompt's rows in turn."""
    return rows.unflatten(0, (prompts, -1)).transpose(1, 2).flatten(2, 3)


def unfold_rows(folded: Tensor, length: int) -> Tensor:
    """Return (M, Hkv, L, ...) of (N, Hkv, G * L, ...): the inverse of `fold_rows`."""
    return folded.unflatten(2, (-1, length)).transpose(1, 2).flatten(0, 1)


def folded_attention(
    query: Tensor, key: Tensor, value: Tensor, *, mask: Tensor | None, scale: float
) -> Tensor:
    """Return (M, H, L, d): grouped-query attention with the sharing heads as extra queries.

    SDPA's own grouped mode leaves its fast kernels on CUDA as soon as there is a mask.

    Args:
        query: (M, H, L, d); key and value: (M, Hkv, S, d).
        mask: additive, broadcasts to (M, Hkv, r * L, S), its rows in the order of `fold_heads`;
            None reads everything.
        scale: of the scores.
    """
    # Heads that share a key are more queries to SDPA, so it needs no grouped mode.
    # Queries and keys now have as many heads: what every kernel of SDPA takes, mask or not.
    folded = fold_heads(query, key.shape[1])  # (M, Hkv, r * L, d)
    read = scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scale)
    return unfold_heads(read, query.shape[2])
