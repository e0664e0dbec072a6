"""How a token reads its prompt and its row's own tokens: three readers, chosen in `reader_for`.

Where a prompt has several rows it is kept once, not once per row: its keys and values are read once
for all rows of the group, whose queries become one longer query. What a row reads of its prompt and
of its own tokens is then computed apart and merged by the log-sum-exps (models/shared/lse.py), or
scored apart and normalised by one softmax.

    UnsharedPrompts         one row per prompt: the prompt stands in the row's own cache
    SharedPromptsByFlash    shared, on a CPU: its flash kernel gives a log-sum-exp to merge by
    SharedPromptsByProducts shared, anywhere else: matrix products and one softmax

Graphed decoding has a reader of its own, of fixed shapes (models/decode/graphed_step.py).

Shapes: N prompts, B rows, G rows of the largest group, P prompt tokens (of the longest), t own
tokens, S cache slots, Hkv key/value heads, r query heads per key head, d head size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.decode.shared_prompts import SharedPrompts
from models.products import float_product
from models.shared.groups import PackedGroups
from models.shared.lse import merged_read
from models.shared.padded import KeysValues

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

MANY_HEADS = 128  # B * Hkv, see `_many_short_rows`
SHORT_ROW = 64  # own tokens


class Reader(Protocol):
    """How the rows' tokens attend to their prompts and to their own caches."""

    in_caches: bool  # whether the rows' own caches begin with the prompt

    def read(
        self, layer: int, query: Tensor, keys: Tensor, values: Tensor, scale: float, /
    ) -> Tensor:
        """Return what each row's token reads, (B, Hkv, r, d).

        Args:
            layer: whose prompt keys and values.
            query: (B, Hkv, r, d).
            keys, values: (B, Hkv, t, d) of the row's own cache, the token itself included.
            scale: of the scores.
        """
        ...

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, (B',) int64, in this order."""
        ...


def reader_for(groups: PackedGroups, keys_values: Sequence[KeysValues], slots: int) -> Reader:
    """Return how rows read the prompts whose keys and values, (N, Hkv, P, d), a pass computed.

    Args:
        groups: which rows have which prompt.
        keys_values: per layer.
        slots: S, of a row's cache where it begins with the prompt.
    """
    if max(groups.rows_per_prompt) == 1:  # one attention costs less than two
        return UnsharedPrompts(_padding_mask(groups, slots))
    # Contiguous, since every token to come reads them all; a pass may have left them as views.
    keys = [key.contiguous() for key, _ in keys_values]
    values = [value.contiguous() for _, value in keys_values]
    by_flash = groups.device.type == "cpu"
    shared = SharedPromptsByFlash if by_flash else SharedPromptsByProducts
    return shared(keys, values, groups.prompt_padding_mask, groups.row_to_prompt)


def _padding_mask(groups: PackedGroups, slots: int) -> Tensor | None:
    """Return 0 at slots a row may read and -inf at the padding after its prompt, (B, 1, 1, S)."""
    if groups.padding is None:
        return None
    lengths = torch.tensor(groups.prompt_lengths, device=groups.device)[groups.row_to_prompt]
    slot = torch.arange(slots, device=groups.device)  # (S,)
    # Between the row's own prompt and where decoded tokens begin, for all rows alike.
    padding = (slot >= lengths[:, None]) & (slot < max(groups.prompt_lengths))  # (B, S)
    mask = torch.zeros(padding.shape, dtype=groups.dtype, device=groups.device)  # (B, S)
    return mask.masked_fill_(padding, -torch.inf)[:, None, None]


@dataclass
class UnsharedPrompts:
    """Nothing but padding to hide: the rows' own caches begin with their prompts."""

    mask: Tensor | None  # (B, 1, 1, S), additive; None when prompts are equally long
    in_caches = True

    def read(
        self, _layer: int, query: Tensor, keys: Tensor, values: Tensor, scale: float
    ) -> Tensor:
        """Return (B, Hkv, r, d), as `Reader` says; t counts the prompt's slots too."""
        mask = None if self.mask is None else self.mask[..., : keys.shape[2]]
        return scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=scale)

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, (B',), in this order."""
        self.mask = None if self.mask is None else self.mask[rows]


class SharedPromptsByFlash(SharedPrompts):
    """The prompt by flash; what that gives is then one more part of the row's own softmax."""

    def read(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Return (B, Hkv, r, d), as `Reader` says."""
        per_row = query.shape[2]  # r
        # Folded into one query, so that a prompt's keys are read from memory once for all its rows.
        # No causal mask: the whole prompt comes before every token of them.
        of_prompt, lse_prompt = _flash(
            self.fold(query),
            *(self.keys[layer], self.values[layer]),
            attn_mask=self.mask,
            scale=scale,
        )
        of_prompt = self.unfold(of_prompt, per_row)  # (B, Hkv, r, d)
        lse_prompt = self.unfold(lse_prompt, per_row)[..., None]  # (B, Hkv, r, 1)
        if _many_short_rows(query, keys):
            return _merged_by_softmax(query, keys, values, scale, of_prompt, lse_prompt)
        of_own, lse_own = _flash(query, keys, values, scale=scale)  # (B, Hkv, r, d), (B, Hkv, r)
        return merged_read(of_prompt, lse_prompt, of_own, lse_own[..., None])


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
    of that score with that value. `merged_read` would need the own scores' log-sum-exp too.
    """
    # The scale goes to the query, which has fewer numbers than the scores.
    scores = (query * scale) @ keys.transpose(2, 3)  # (B, Hkv, r, t)
    weights = torch.cat([scores, lse_prompt], dim=3).softmax(dim=3)  # (B, Hkv, r, t + 1)
    own, prompt = weights.split([keys.shape[2], 1], dim=3)
    return torch.addcmul(own @ values, prompt, of_prompt)


class SharedPromptsByProducts(SharedPrompts):
    """Two products, one softmax, two products: on any device, by public operations only."""

    def read(self, layer: int, query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
        """Return (B, Hkv, r, d), as `Reader` says.

        Scores and softmax are float32; weights are rounded to the values' dtype.
        """
        per_row = query.shape[2]  # r
        prompt_scores = _scores(self.fold(query), self.keys[layer])  # (N, Hkv, G * r, P)
        if self.mask is not None:
            prompt_scores = prompt_scores + self.mask
        own_scores = _scores(query, keys)  # (B, Hkv, r, t)

        # One softmax over both parts needs no merge; the weights then part again.
        scores = torch.cat([self.unfold(prompt_scores, per_row), own_scores], dim=3)
        weights = (scores * scale).softmax(dim=3).to(values.dtype)  # (B, Hkv, r, P + t)
        of_prompt, of_own = weights.split([prompt_scores.shape[3], keys.shape[2]], dim=3)
        # The group's weights are one long query again, so its values too are read once.
        read = self.fold(of_prompt) @ self.values[layer]  # (N, Hkv, G * r, d)
        return self.unfold(read, per_row) + of_own @ values


def _scores(query: Tensor, keys: Tensor) -> Tensor:
    """Return (B, Hkv, L, S) of (B, Hkv, L, d) and (B, Hkv, S, d), at least float32."""
    product = float_product(query.flatten(0, 1), keys.flatten(0, 1).transpose(1, 2))
    return product.unflatten(0, query.shape[:2])
