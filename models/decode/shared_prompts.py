"""Decoding against prompts that are kept once per group, not once per row.

A new token reads its prompt and its row's own tokens. The two parts are computed apart and merged
by their log-sum-exps, or scored apart and normalised by one softmax: either way the keys and values
of a prompt are read once for all rows of the group, which become one longer query.

Shapes: N prompts, B rows, G rows of the largest group, P prompt tokens (of the longest), t own
tokens, Hkv key/value heads, r query heads per key head, d head size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.products import float_product

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

MANY_HEADS = 128  # B * Hkv, see `_many_short_rows`
SHORT_ROW = 64  # own tokens


@dataclass
class SharedPrompts:
    """Keys and values of N prompts, and which rows read which."""

    keys: list[Tensor]  # per layer, (N, Hkv, P, d)
    values: list[Tensor]
    mask: Tensor | None  # (N, 1, 1, P), additive; None when prompts are equally long
    row_to_prompt: Tensor  # (B,) int64
    # Where groups differ in size, the smaller ones are filled up with copies of one of their rows:
    slots: Tensor | None = None  # (N * G,) the row of each slot; None when row = slot
    places: Tensor | None = None  # (B,) the slot of each row

    def __post_init__(self) -> None:
        self._lay_out()

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, (B',), in this order; a prompt without rows goes too."""
        used, self.row_to_prompt = self.row_to_prompt[rows].unique(return_inverse=True)
        if len(used) < len(self.keys[0]):
            for kept in (self.keys, self.values):
                for layer, tensor in enumerate(kept):
                    kept[layer] = tensor.index_select(0, used)
            self.mask = None if self.mask is None else self.mask[used]
        self._lay_out()

    def _lay_out(self) -> None:
        counts = self.row_to_prompt.bincount()  # (N,)
        size = int(counts.max())
        owners, order = self.row_to_prompt.sort(stable=True)  # rows by prompt
        rows = torch.arange(len(order), device=order.device)
        if int(counts.min()) == size and torch.equal(order, rows):
            self.slots = self.places = None
            return
        first = counts.cumsum(0) - counts  # where each prompt's rows begin in that order
        within = torch.arange(size, device=counts.device)
        self.slots = order[first[:, None] + torch.minimum(within, counts[:, None] - 1)].flatten()
        self.places = torch.empty_like(order)
        self.places[order] = owners * size + rows - first[owners]

    def fold(self, query: Tensor) -> Tensor:
        """Return (N, Hkv, G * r, d) of (B, Hkv, r, d)."""
        if self.slots is not None:
            query = query.index_select(0, self.slots)
        groups = query.unflatten(0, (len(self.keys[0]), -1))  # (N, G, Hkv, r, d)
        return groups.transpose(1, 2).flatten(2, 3)

    def unfold(self, folded: Tensor, per_row: int) -> Tensor:
        """Return (B, Hkv, r, ...) of (N, Hkv, G * r, ...), r = ``per_row``."""
        rows = folded.unflatten(2, (-1, per_row)).transpose(1, 2).flatten(0, 1)
        return rows if self.places is None else rows.index_select(0, self.places)

    def read(
        self, layer: int, query: Tensor, own_keys: Tensor, own_values: Tensor, scale: float
    ) -> Tensor:
        """Return what each row's token reads of its prompt and of its own tokens, (B, Hkv, r, d).

        Args:
            layer: whose prompt keys and values.
            query: (B, Hkv, r, d).
            own_keys, own_values: (B, Hkv, t, d), the token itself included.
            scale: of the scores.
        """
        read = _read_by_flash if query.device.type == "cpu" else _read_by_matmul
        return read(self, layer, query, own_keys, own_values, scale)


def _read_by_flash(
    shared: SharedPrompts, layer: int, query: Tensor, keys: Tensor, values: Tensor, scale: float
) -> Tensor:
    """The prompt by flash; it then counts as one key of score lse_prompt among the row's own."""
    per_row = query.shape[2]
    of_prompt, lse_prompt = _flash(
        shared.fold(query),
        *(shared.keys[layer], shared.values[layer]),
        attn_mask=shared.mask,
        scale=scale,
    )
    of_prompt = shared.unfold(of_prompt, per_row)  # (B, Hkv, r, d)
    lse_prompt = shared.unfold(lse_prompt, per_row)  # (B, Hkv, r)
    if _many_short_rows(query, keys):
        return _merged_by_softmax(query, keys, values, scale, of_prompt, lse_prompt)
    of_own, lse_own = _flash(query, keys, values, scale=scale)
    share = torch.sigmoid(lse_own - lse_prompt)[..., None]  # at least float32
    merged = torch.lerp(of_prompt.to(share.dtype), of_own.to(share.dtype), share)
    return merged.to(query.dtype)


def _many_short_rows(query: Tensor, keys: Tensor) -> bool:
    """Return whether two products for all heads together are faster than flash.

    The flash kernel of a CPU takes its heads one by one, which for a row of a few tokens costs more
    than the arithmetic (256 rows of 12 tokens, 2 key heads of 32, 2 threads: 1.1 against 0.41 ms;
    of 1 token 0.17 against 0.47).
    """
    many = query.shape[0] * query.shape[1] >= MANY_HEADS
    return query.dtype == torch.float32 and many and 4 <= keys.shape[2] <= SHORT_ROW


def _merged_by_softmax(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    scale: float,
    of_prompt: Tensor,
    lse_prompt: Tensor,
) -> Tensor:
    """Return (B, Hkv, r, d): one softmax over the own scores and the prompt's log-sum-exp.

    The prompt's share of the sum is exp(lse_prompt), and what it gives is of_prompt: exactly a key
    of that score with that value.
    """
    scores = (query * scale) @ keys.transpose(2, 3)  # (B, Hkv, r, t)
    weights = torch.cat([scores, lse_prompt[..., None]], dim=3).softmax(dim=3)
    own, prompt = weights.split([keys.shape[2], 1], dim=3)
    return torch.addcmul(own @ values, prompt, of_prompt)


def _read_by_matmul(
    shared: SharedPrompts, layer: int, query: Tensor, keys: Tensor, values: Tensor, scale: float
) -> Tensor:
    """Public operations only, on any device: two products, one softmax, two products.

    Scores and softmax are float32; weights are rounded to the values' dtype.
    """
    per_row = query.shape[2]
    prompt_scores = _scores(shared.fold(query), shared.keys[layer])  # (N, Hkv, G * r, P)
    if shared.mask is not None:
        prompt_scores = prompt_scores + shared.mask
    own_scores = _scores(query, keys)
    scores = torch.cat([shared.unfold(prompt_scores, per_row), own_scores], dim=3)
    weights = (scores * scale).softmax(dim=3).to(values.dtype)  # (B, Hkv, r, P + t)
    of_prompt, of_own = weights.split([prompt_scores.shape[3], keys.shape[2]], dim=3)
    read = shared.fold(of_prompt) @ shared.values[layer]
    return shared.unfold(read, per_row) + of_own @ values


def _scores(query: Tensor, keys: Tensor) -> Tensor:
    """Return (B, Hkv, L, S) of (B, Hkv, L, d) and (B, Hkv, S, d), at least float32."""
    product = float_product(query.flatten(0, 1), keys.flatten(0, 1).transpose(1, 2))
    return product.unflatten(0, query.shape[:2])
