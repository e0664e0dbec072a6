"""What a decode step reads and writes, at addresses that stay: caches, tables, indices.

One allocation holds the largest batch so far; a smaller bucket is a view of its beginning, so rows
may leave and slots may fill without anything moving to another address.

Shapes: L layers, R rows of a bucket (padding rows after the real ones), S slots of own tokens, N
prompts, P prompt slots, G cells per prompt (rows of the largest group), Hkv key/value heads, d head
size, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from models.architecture import Decoder
from models.shared.padded import KeysValues

SLOTS = 64  # own slots and prompt slots come in multiples of it


class Bucket(NamedTuple):
    """The sizes of one step, and the key of its graph."""

    rows: int  # R
    slots: int  # S
    prompts: int  # N
    prompt_slots: int  # P
    cells: int  # G

    def holds(self, other: "Bucket") -> bool:
        """Whether each size is at least the other's."""
        return all(ours >= theirs for ours, theirs in zip(self, other, strict=True))


def count_bucket(count: int) -> int:
    """Return the smallest of 1, 2, 3, 4, 6, 8, 12, 16, 24, .. that is at least ``count``.

    >>> [count_bucket(count) for count in (1, 3, 5, 7, 32, 33, 49)]
    [1, 3, 6, 8, 32, 48, 64]
    """
    power = 1 << (count - 1).bit_length()
    midpoint = power * 3 // 4
    return midpoint if power >= 4 and count <= midpoint else power


def slot_bucket(count: int) -> int:
    """Return the smallest multiple of `SLOTS` that is at least ``count``, and not 0.

    >>> [slot_bucket(count) for count in (0, 1, 64, 65)]
    [64, 64, 64, 128]
    """
    return max(1, -(-count // SLOTS)) * SLOTS


@dataclass
class LiveRows:
    """Which rows are left, known to the host: sizes and indices are worked out from it."""

    owners: list[int]  # B, the prompt of each row
    prompt_lengths: list[int]  # N
    cos: Tensor  # (N, max_new_tokens, d), of each prompt's tokens to come
    sin: Tensor  # (N, max_new_tokens, d), signed

    @property
    def max_new_tokens(self) -> int:
        """How many tokens there is room for."""
        return self.cos.shape[1]

    def keep_prompts(self, used: list[int], index: Tensor) -> None:
        """Keep only prompts that rows still have: their numbers, on the host and on the device."""
        self.cos, self.sin = self.cos[index], self.sin[index]
        self.prompt_lengths = [self.prompt_lengths[prompt] for prompt in used]
        self.owners = [used.index(owner) for owner in self.owners]


class DecodeBuffers:
    """The tensors of the largest bucket. All begin as zeros: no memory may hold a stray NaN."""

    def __init__(self, text: Decoder, capacity: Bucket) -> None:
        """Allocate them on the device and in the dtype of the decoder's weights."""
        attention, weight = text.layers[0].self_attn, text.norm.weight
        kv_heads, head_size = attention.num_key_value_heads, attention.head_dim
        rows, slots, prompts, prompt_slots, cells = self.capacity = capacity

        def integers(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int64, device=weight.device)

        pairs = (len(text.layers), 2)  # keys, then values
        self.own = weight.new_zeros(*pairs, rows, kv_heads, slots, head_size)  # see `Views`
        self.prompts = weight.new_zeros(*pairs, prompts, kv_heads, prompt_slots, head_size)

        # What depends on which rows are left, written when they change:
        self.cos = weight.new_zeros(rows, slots, head_size)  # of each row's tokens to come
        self.sin = weight.new_zeros(rows, slots, head_size)  # signed
        self.prompt_mask = weight.new_zeros(rows, prompt_slots)  # -inf after a row's prompt
        self.cell_rows = integers(prompts * kv_heads * cells)  # see `Views.cell_rows`
        self.row_cells = integers(rows * kv_heads)

        # What changes with the token: its slot and ids go in, hidden states come out.
        self.slot = integers(1)
        self.token_ids = integers(rows)
        self.hidden = weight.new_zeros(rows, weight.shape[0])  # (R, D)

        # Constants, here because a graph needs their addresses too.
        self.slot_numbers = torch.arange(slots, device=weight.device)  # (S,)
        self.diagonal = torch.eye(head_size, dtype=weight.dtype, device=weight.device)
        # x @ off_diagonal swaps the halves of x; the sign is in the sine
        self.off_diagonal = self.diagonal.roll(head_size // 2, 0)

    def fill(self, bucket: Bucket, keys_values: Sequence[KeysValues]) -> None:
        """Write the prompts' keys and values, (N, Hkv, P, d) per layer, and zeros into the rest.

        A mask does not hide what an earlier rollout may have left there: 0 * NaN is NaN.
        """
        self.own[:, :, : bucket.rows, :, : bucket.slots].zero_()
        # A prompt shorter than the longest ends in copies of its last token: finite, and masked.
        count, _, longest, _ = keys_values[0][0].shape
        self.prompts[:, :, :count, :, longest : bucket.prompt_slots].zero_()
        for layer, entry in zip(self.prompts, keys_values, strict=True):
            for cache, computed in zip(layer, entry, strict=True):
                cache[:count, :, :longest].copy_(computed)

    def lay_out(self, bucket: Bucket, rows: LiveRows) -> None:
        """Write what depends on which row has which prompt; padding rows repeat row 0."""
        device, padding = self.own.device, bucket.rows - len(rows.owners)
        owners = torch.tensor(rows.owners + rows.owners[:1] * padding, device=device)  # (R,)
        self.cos[: bucket.rows, : rows.max_new_tokens] = rows.cos[owners]
        self.sin[: bucket.rows, : rows.max_new_tokens] = rows.sin[owners]

        lengths = torch.tensor(rows.prompt_lengths, device=device)[owners]  # (R,)
        beyond = torch.arange(bucket.prompt_slots, device=device) >= lengths[:, None]  # (R, P)
        mask = self.prompt_mask[: bucket.rows, : bucket.prompt_slots]
        mask.zero_().masked_fill_(beyond, -torch.inf)

        # Worked out on the host, where they are a few numbers, and copied.
        cell_rows, row_cells = grid_indices(rows.owners, bucket, self.own.shape[3])
        self.cell_rows[: cell_rows.numel()] = cell_rows.to(device)
        self.row_cells[: row_cells.numel()] = row_cells.to(device)


def grid_indices(owners: Sequence[int], bucket: Bucket, kv_heads: int) -> tuple[Tensor, Tensor]:
    """Return which (row, head) each (prompt, head, cell) shows, and where each (row, head) is.

    (N * Hkv * G,) and (R * Hkv,) int64, both counting heads apart. A cell without a row shows row
    0, and nobody reads it; a padding row reads where row 0 does.
    """
    cell_rows = torch.zeros(bucket.prompts, bucket.cells, dtype=torch.int64)  # (N, G)
    places = torch.zeros(bucket.rows, 2, dtype=torch.int64)  # (R, 2): prompt, cell
    # Rows of a prompt take its cells in their own order.
    seen = [0] * bucket.prompts
    for row, owner in enumerate(owners):
        cell_rows[owner, seen[owner]] = row
        places[row] = torch.tensor([owner, seen[owner]])
        seen[owner] += 1
    places[len(owners) :] = places[0]
    # Heads count apart, since an attention's batch is (row, head).
    heads = torch.arange(kv_heads)  # (Hkv,)
    shown = cell_rows[:, None] * kv_heads + heads[:, None]  # (N, Hkv, G)
    prompt, cell = places[:, :1], places[:, 1:]  # (R, 1) each
    found = (prompt * kv_heads + heads) * bucket.cells + cell  # (R, Hkv)
    return shown.flatten(), found.flatten()


class Views:
    """The buffers as one bucket's step sees them."""

    def __init__(self, buffers: DecodeBuffers, bucket: Bucket) -> None:
        rows, slots, prompts, prompt_slots, cells = self.bucket = bucket
        kv_heads = buffers.own.shape[3]
        self.own = buffers.own[:, :, :rows, :, :slots]  # (L, 2, R, Hkv, S, d)
        self.prompts = buffers.prompts[:, :, :prompts, :, :prompt_slots]  # (L, 2, N, Hkv, P, d)
        self.cos = buffers.cos[:rows, :slots]  # (R, S, d)
        self.sin = buffers.sin[:rows, :slots]  # signed: see models/rotary.py
        self.prompt_mask = buffers.prompt_mask[:rows, :prompt_slots]  # (R, P)
        # Rows share what is read of a prompt as the cells of an (N, Hkv, G) grid. Both count the
        # Hkv heads of a row apart: which (row, head) a cell shows, and where each one's is.
        self.cell_rows = buffers.cell_rows[: prompts * kv_heads * cells]
        self.row_cells = buffers.row_cells[: rows * kv_heads]
        self.slot = buffers.slot  # (1,)
        self.token_ids = buffers.token_ids[:rows]  # (R,)
        self.hidden = buffers.hidden[:rows]  # (R, D)
        self.slot_numbers = buffers.slot_numbers[:slots]  # (S,)
        self.diagonal, self.off_diagonal = buffers.diagonal, buffers.off_diagonal  # (d, d)
