"""Folded queries stand where the formulas say, and unfolding is the inverse.

Shapes: N prompts, G rows each, M = N * G rows, L queries of a row, H query heads, Hkv key/value
heads, d head size.
"""

import torch

from models.shared.folding import fold_heads, fold_rows, unfold_heads, unfold_rows

N, G, HKV, R, L, D = 2, 3, 2, 4, 5, 1


def test_heads_that_share_a_key_follow_one_another():
    query = torch.arange(G * HKV * R * L * D).view(G, HKV * R, L, D)
    folded = fold_heads(query, HKV)
    assert folded.shape == (G, HKV, R * L, D)
    for head in range(HKV * R):
        place = head % R * L
        assert torch.equal(folded[:, head // R, place : place + L], query[:, head])
    assert torch.equal(unfold_heads(folded, L), query)


def test_rows_that_share_a_prompt_follow_one_another():
    rows = torch.arange(N * G * HKV * L * D).view(N * G, HKV, L, D)
    folded = fold_rows(rows, N)
    assert folded.shape == (N, HKV, G * L, D)
    for row in range(N * G):
        place = row % G * L
        assert torch.equal(folded[row // G, :, place : place + L], rows[row])
    assert torch.equal(unfold_rows(folded, L), rows)
    assert torch.equal(unfold_rows(folded[..., 0], L), rows[..., 0])  # a log-sum-exp, without d
