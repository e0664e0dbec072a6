"""One decode step of fixed shapes that asks the host for nothing: what a CUDA graph records.

The decoder layer is the eager one's (models/decode/layer.py). What differs is here: where a token
stands and what it reads are tensors at fixed addresses, so caches are written by an index on the
device, and read whole, with a mask.

Every kernel costs its launch, even in a graph, so there are few of them: 22 per layer in float32,
27 in half precision, counted by tests/models/decode/test_graphed_step.py as the operations that are
no views. The rotation of queries and keys is one product with a matrix; scores over the prompt
land beside those over own tokens by `out=`. The five kernels more keep scores in float32, and round
norms and residuals where the layers of the update round them (docs/precision.md).

Shapes: R rows, D hidden size, H query heads, Hkv key/value heads, r = H / Hkv, d head size, S own
slots, P prompt slots, N prompts, G cells per prompt.
"""

import torch
from torch import Tensor

from models.architecture import Decoder
from models.decode.buffers import Views
from models.decode.layer import FusedWeights, next_hidden
from models.products import float_product
from models.rotary import rotation_matrix


def run_step(text: Decoder, weights: FusedWeights, views: Views) -> None:
    """Put the tokens' keys and values into slot ``views.slot``; write ``views.hidden``, (R, D).

    Running it again with the same slot and tokens changes nothing.
    """
    views.hidden.copy_(next_hidden(text, weights, views.token_ids, GraphedContext(views)))


class GraphedContext:
    """One token of the rows of a bucket: rotation and mask are made once for all layers."""

    def __init__(self, views: Views) -> None:
        self._views = views
        cos = views.cos.index_select(1, views.slot)  # (R, 1, d)
        sin = views.sin.index_select(1, views.slot)  # (R, 1, d), signed
        self._rotation = rotation_matrix(cos, sin, views.diagonal, views.off_diagonal)  # (R, d, d)
        self._mask = _mask(views)  # (R, 1, P + S)

    def rotate(self, heads: Tensor) -> Tensor:
        """Return the heads, (R, H + Hkv, d), with the rotary position of their row's token."""
        return torch.bmm(heads, self._rotation)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Put key and value, (R, Hkv, 1, d), into the slot; return what is read, (R * Hkv, r, d).

        One softmax over the row's prompt and its own tokens. Scores, mask, scale and softmax are
        float32 whatever the weights are; only the softmax's result is rounded to the values' dtype.
        Unwritten slots hold zeros, which a weight of 0 leaves 0; a NaN would not be hidden by any
        mask.
        """
        views = self._views
        rows, slots, _, prompt_slots, _ = views.bucket
        own_keys, own_values = views.own[layer]  # (R, Hkv, S, d)
        # The slot's number is known to the device alone, or every token would be another graph.
        own_keys.index_copy_(2, views.slot, key)
        own_values.index_copy_(2, views.slot, value)
        keys, values = views.own[layer].flatten(1, 2)  # (R * Hkv, S, d)
        prompt_keys, prompt_values = views.prompts[layer].flatten(1, 2)  # (N * Hkv, P, d)
        query = query.flatten(0, 1)  # (R * Hkv, r, d)
        per_key = query.shape[1]  # r

        # Rows of a group read their prompt as one query, and each finds its part of the scores.
        folded = query.index_select(0, views.cell_rows)  # (N * Hkv * G, r, d)
        of_prompt = float_product(_per_prompt(folded, prompt_keys), prompt_keys.transpose(1, 2))
        # Both land in one tensor, (R * Hkv, r, P + S): it saves the kernel that would join them.
        scores = of_prompt.new_empty(len(query), per_key, prompt_slots + slots)
        of_prompt = of_prompt.view(-1, per_key, prompt_slots)  # (N * Hkv * G, r, P)
        torch.index_select(of_prompt, 0, views.row_cells, out=scores[:, :, :prompt_slots])
        float_product(query, keys.transpose(1, 2), out=scores[:, :, prompt_slots:])
        masked = torch.add(self._mask, scores.view(rows, -1, scores.shape[2]), alpha=scale)
        weights = masked.softmax(dim=2).view_as(scores).to(values.dtype)  # (R * Hkv, r, P + S)

        # The same way back for the values.
        folded = weights[:, :, :prompt_slots].index_select(0, views.cell_rows)
        read = torch.bmm(_per_prompt(folded, prompt_keys), prompt_values).view(-1, *query.shape[1:])
        read = read.index_select(0, views.row_cells)  # (R * Hkv, r, d)
        return read.baddbmm_(weights[:, :, prompt_slots:], values)


def _per_prompt(cells: Tensor, prompts: Tensor) -> Tensor:
    """Return (N * Hkv, G * r, ...) of (N * Hkv * G, r, ...)."""
    return cells.view(len(prompts), -1, cells.shape[2])


def _mask(views: Views) -> Tensor:
    """Return 0 where a row may read and -inf elsewhere, (R, 1, P + S)."""
    # Slots beyond the token's own hold zeros, no tokens.
    hidden = views.slot_numbers > views.slot  # (S,)
    own = torch.zeros_like(hidden, dtype=views.cos.dtype).masked_fill_(hidden, -torch.inf)
    return torch.cat([views.prompt_mask, own.expand(views.bucket.rows, -1)], dim=1)[:, None]
