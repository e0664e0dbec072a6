"""Keys and values of prompts, held once per group and not once per row while rows end one by one.

All rows of a group become one query of their prompt: `fold` and `unfold`. Where groups have become
unequal, each takes as many places as the largest. How such a query is read is in
models/decode/prompt_readers.py.

Shapes: N prompts, B rows, G rows of the largest group, P prompt tokens (of the longest), Hkv
key/value heads, r query heads per key head, d head size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.shared.folding import fold_rows, unfold_rows


@dataclass
class SharedPrompts:
    """Keys and values of N prompts, and which rows read which; a subclass reads them."""

    keys: list[Tensor]  # per layer, (N, Hkv, P, d)
    values: list[Tensor]
    mask: Tensor | None  # (N, 1, 1, P), additive; None when prompts are equally long
    row_to_prompt: Tensor  # (B,) int64
    # Rows stand on N * G places, prompt after prompt; None where each stands on its own number.
    row_of_place: Tensor | None = None  # (N * G,)
    place_of_row: Tensor | None = None  # (B,)
    in_caches = False

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
        """Work out where rows stand; places that a smaller group leaves show one of its rows.

        What those places compute is dropped by `unfold`.
        """
        # A rectangle of N * G places, since a prompt's rows are to be one query and all as long.
        counts = self.row_to_prompt.bincount()  # (N,)
        size = int(counts.max())  # G
        owners, order = self.row_to_prompt.sort(stable=True)  # (B,) each, rows by prompt
        rows = torch.arange(len(order), device=order.device)  # (B,)
        if int(counts.min()) == size and torch.equal(order, rows):
            self.row_of_place = self.place_of_row = None  # a reshape does it, without a copy
            return
        first = counts.cumsum(0) - counts  # (N,) where each prompt's rows begin in that order
        within = torch.arange(size, device=counts.device).minimum(counts[:, None] - 1)  # (N, G)
        self.row_of_place = order[first[:, None] + within].flatten()  # (N * G,)
        # The way back: a row's place is its prompt's first one and its rank among that one's rows.
        self.place_of_row = torch.empty_like(order)  # (B,)
        self.place_of_row[order] = owners * size + rows - first[owners]

    def fold(self, query: Tensor) -> Tensor:
        """Return (N, Hkv, G * r, d) of (B, Hkv, r, d)."""
        if self.row_of_place is not None:
            query = query.index_select(0, self.row_of_place)
        return fold_rows(query, len(self.keys[0]))

    def unfold(self, folded: Tensor, per_row: int) -> Tensor:
        """Return (B, Hkv, r, ...) of (N, Hkv, G * r, ...), r = ``per_row``."""
        rows = unfold_rows(folded, per_row)
        return rows if self.place_of_row is None else rows.index_select(0, self.place_of_row)
