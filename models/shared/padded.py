"""Packed groups read as padded rectangles: each prompt once, completions after it.

Two of the three ways to attend (models/shared/attention.py) share this file: prompts read
themselves by one causal call of SDPA, whose keys and values completions then read too. How they do,
`CopyingReader` says here and `MergingReader` in models/shared/merged.py.

Shapes: N prompts, M completion rows, P prompt tokens, C completion tokens, T packed tokens (T_c of
completions), H query heads, Hkv key/value heads, r = H / Hkv, d head size.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.shared.folding import folded_attention
from models.shared.groups import PackedGroups

KeysValues = tuple[Tensor, Tensor]  # of the prompts in one layer, (N, Hkv, P, d) each


class PaddedReader(ABC):
    """Reads a whole packed row, or completions alone after prompts that were read before."""

    def __init__(self, groups: PackedGroups) -> None:
        self.groups = groups

    def read(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> tuple[Tensor, KeysValues]:
        """Return what each token reads, (T, H, d), and the prompts' keys and values.

        Args:
            query: (T, H, d) with rotary positions applied; key and value: (T, Hkv, d).
            scale: of the scores.
        """
        # Prompts read themselves, causally: right padding is later than every real token.
        (query_prompt, query_own), (key_prompt, key_own), (value_prompt, value_own) = (
            self.groups.split(packed) for packed in (query, key, value)
        )
        query_prompt, key_prompt, value_prompt = (
            self.pad_prompts(packed) for packed in (query_prompt, key_prompt, value_prompt)
        )  # (N, heads, P, d)
        read = scaled_dot_product_attention(
            query_prompt,
            key_prompt,
            value_prompt,
            is_causal=True,
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        read = self.groups.pack_prompts(read.transpose(1, 2))  # (T_p, H, d)

        # What they made of themselves is all that their completions need of them.
        prompts = key_prompt, value_prompt
        if len(query_own):
            read_own = self.read_completions(query_own, key_own, value_own, prompts, scale)
            read = torch.cat([read, read_own])  # (T, H, d)
        return read, prompts

    def read_completions(
        self, query: Tensor, key: Tensor, value: Tensor, prompts: KeysValues, scale: float
    ) -> Tensor:
        """Return what completion tokens read of their prompt and of their own row, (T_c, H, d).

        Args:
            query: (T_c, H, d); key and value: (T_c, Hkv, d).
            prompts: their keys and values in this layer, from this pass or an earlier one.
            scale: of the scores.
        """
        # What padded queries read is dropped when they are packed again.
        query, key, value = (
            self.groups.pad_completions(packed).transpose(1, 2) for packed in (query, key, value)
        )  # (M, heads, C, d)
        read = self._read_rows(query, key, value, prompts, scale)  # (M, H, C, d)
        return self.groups.pack_completions(read.transpose(1, 2))

    def read_ends(self, query: Tensor, prompts: KeysValues, scale: float) -> Tensor:
        """Return what each prompt's last token, (N, H, d), reads: all of its prompt, (N, H, d)."""
        mask = self.groups.prompt_padding_mask  # nothing else is hidden from a last token
        return folded_attention(query[:, :, None], *prompts, mask=mask, scale=scale).squeeze(2)

    def pad_prompts(self, packed: Tensor) -> Tensor:
        """Return (N, heads, P, d) of the packed (T_p, heads, d)."""
        return self.groups.pad_prompts(packed).transpose(1, 2)

    @abstractmethod
    def _read_rows(
        self, query: Tensor, key: Tensor, value: Tensor, prompts: KeysValues, scale: float
    ) -> Tensor:
        """Return what each row's query, (M, H, C, d), reads of its prompt and itself: as query.

        Padded rows: key and value (M, Hkv, C, d). This alone is where the readers differ.
        """


class CopyingReader(PaddedReader):
    """Copies each prompt's keys and values in front of its rows' own: one call, any shape."""

    def __init__(self, groups: PackedGroups, heads_per_key: int) -> None:
        """Make the mask of completions over their prompts and themselves, for r folded heads."""
        super().__init__(groups)
        self.mask = completion_mask(groups, heads_per_key) if groups.completion_length else None

    def _read_rows(
        self, query: Tensor, key: Tensor, value: Tensor, prompts: KeysValues, scale: float
    ) -> Tensor:
        keys, values = (
            self._prepend(prompt, own) for prompt, own in zip(prompts, (key, value), strict=True)
        )  # (M, Hkv, P + C, d)
        return folded_attention(query, keys, values, mask=self.mask, scale=scale)

    def _prepend(self, prompt: Tensor, own: Tensor) -> Tensor:
        """Return (M, Hkv, P + C, d) of (N, Hkv, P, d) and (M, Hkv, C, d)."""
        # Tokens before heads, as the projections made them: a token is copied in one piece.
        repeated = self.groups.repeat_prompts(prompt.transpose(1, 2))  # (M, P, Hkv, d)
        return torch.cat([repeated, own.transpose(1, 2)], dim=1).transpose(1, 2)


def completion_mask(groups: PackedGroups, heads_per_key: int) -> Tensor:
    """Return the additive mask of completion queries over [prompt, own tokens].

    (r * C, P + C) when prompts are equally long, else (M, 1, r * C, P + C). Made on the device:
    with prompts of different lengths it is the largest thing a forward would copy there.
    """
    longest, length, device = groups.prompt_length, groups.completion_length, groups.device
    # Query i stands after the prompt's `longest` slots, so it sees up to slot longest + i.
    everything = torch.ones(length, longest + length, dtype=torch.bool, device=device)
    visible = everything.tril(longest)  # (C, P + C)
    # A shorter prompt leaves a gap between its end and the row's own tokens.
    if groups.padding is not None:
        lengths = torch.tensor(groups.prompt_lengths)  # (N,)
        lengths = lengths.repeat_interleave(torch.tensor(groups.rows_per_prompt)).to(device)  # (M,)
        slots = torch.arange(longest + length, device=device)  # (P + C,)
        readable = (slots < lengths[:, None]) | (slots >= longest)  # (M, P + C)
        visible = visible & readable[:, None, None, :]  # (M, 1, C, P + C)
    # Additive: SDPA would make such a mask of a bool one at every layer.
    mask = torch.zeros(visible.shape, dtype=groups.dtype, device=device)
    mask.masked_fill_(~visible, -torch.inf)
    repeats = [1] * (mask.dim() - 2) + [heads_per_key, 1]
    return mask.repeat(repeats)  # heads outermost, as `fold_heads` lays out the queries
