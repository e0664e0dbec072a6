"""Decoding by CUDA graphs: eager decoding's layers in fixed shapes at fixed addresses.

A policy keeps one `GraphedDecoder`. Its graphs serve every rollout after the one that captured
them: an optimizer writes weights in place, and what is derived from weights is refreshed in place
at each prefill. One graph per `Bucket`: sizes are rounded up, rows that ended leave by moving the
others to the front, and a smaller bucket is then the beginning of the same tensors.

Memory that stays beside training, until `Policy.free_decoding`, in elements of the weights' dtype
(sizes of the largest bucket so far):
    caches       2 L Hkv d (R S + N P)
    projections  L (H + 2 Hkv) d D
and one step's intermediate tensors in the graphs' own pool. They are not given back after a
rollout, since graphs hold addresses: given back, each step of training would capture them anew.

Shapes: N prompts, B rows, R rows of the bucket (B <= R), S own slots, P prompt slots, G cells per
prompt, L layers, H query heads, Hkv key/value heads, d head size, D hidden size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.architecture import Decoder
from models.decode.buffers import Bucket, DecodeBuffers, Views, count_bucket, slot_bucket
from models.decode.graphed_step import run_step
from models.decode.graphs import Graphs
from models.decode.layer import FusedWeights
from models.decode.state import full_error, tables_to_come
from models.prompts.prompt import EncodedPrompt
from models.shared.groups import PackedGroups


class GraphedDecoder:
    """Buffers, fused weights and graphs of one decoder: one rollout at a time uses them."""

    def __init__(self, device: torch.device | None) -> None:
        """Capture graphs on this CUDA device; None calls the step instead, on any device."""
        self.device = device
        self.graphs = Graphs(device)
        self.buffers: DecodeBuffers | None = None
        self.weights: FusedWeights | None = None
        self.state: GraphedState | None = None  # the one whose rows the buffers hold
        self._addresses: list[tuple[int, torch.dtype]] = []  # of the text's weights, in the graphs

    def start(
        self,
        text: Decoder,
        prompts: Sequence[EncodedPrompt],
        groups: PackedGroups,
        keys_values: Sequence[tuple[Tensor, Tensor]],
        max_new_tokens: int,
    ) -> "GraphedState":
        """Return the state after prompts whose keys and values, (N, Hkv, P, d), are given.

        An earlier state ends here: its rows are overwritten.
        """
        needed = Bucket(
            rows=count_bucket(groups.num_rows),
            slots=slot_bucket(max_new_tokens),
            prompts=count_bucket(len(prompts)),
            prompt_slots=slot_bucket(max(groups.prompt_lengths)),
            cells=count_bucket(max(groups.rows_per_prompt)),
        )
        self._make_room(text, needed)
        self.weights.refresh(text)
        self.state = GraphedState(self, text, prompts, groups, keys_values, max_new_tokens, needed)
        return self.state

    def run(self, text: Decoder, bucket: Bucket) -> None:
        """Do one step on the buffers."""

        def make():
            views = Views(self.buffers, bucket)
            return lambda: run_step(text, self.weights, views)

        self.graphs.get(bucket, make).replay()

    def _make_room(self, text: Decoder, needed: Bucket) -> None:
        """Drop what holds addresses of weights that moved or of buffers that are too small."""
        addresses = [(weight.data_ptr(), weight.dtype) for weight in text.parameters()]
        if addresses != self._addresses:
            self._addresses = addresses
            self.graphs.clear()
            self.buffers, self.weights = None, FusedWeights(text, fold_norms=False)
        if self.buffers is None or not self.buffers.capacity.holds(needed):
            held = needed if self.buffers is None else self.buffers.capacity
            self.graphs.clear()
            self.buffers = None  # before the larger ones are made
            self.buffers = DecodeBuffers(text, Bucket(*map(max, needed, held)))


class GraphedState:
    """B rows in a decoder's buffers; what changes with the rows is worked out on the host."""

    def __init__(
        self,
        decoder: GraphedDecoder,
        text: Decoder,
        prompts: Sequence[EncodedPrompt],
        groups: PackedGroups,
        keys_values: Sequence[tuple[Tensor, Tensor]],
        max_new_tokens: int,
        bucket: Bucket,
    ) -> None:
        self._decoder, self._text, self._bucket = decoder, text, bucket
        self.filled, self.max_new_tokens = 0, max_new_tokens
        self._owners: list[int] = groups.row_to_prompt.tolist()  # B, the prompt of each row
        self._lengths = list(groups.prompt_lengths)  # N
        self._cos, self._sin = tables_to_come(text, prompts, max_new_tokens)
        self._fill_caches(keys_values)
        self._lay_out()

    @property
    def num_rows(self) -> int:
        return len(self._owners)

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, (B',) int64, in this order, in the smallest bucket for them."""
        self._check_current()
        own = self._decoder.buffers.own
        index = rows.to(own.device)
        for layer in own[:, :, :, :, : self.filled]:  # (2, R, Hkv, filled, d)
            layer[:, : len(index)] = layer.index_select(1, index)
        self._owners = [self._owners[row] for row in rows.tolist()]
        self._bucket = self._bucket._replace(rows=count_bucket(len(self._owners)))
        used = sorted(set(self._owners))
        fewer = count_bucket(len(used))
        if 2 * fewer <= self._bucket.prompts:  # else a further graph would gain little
            self._keep_prompts(used)
            self._bucket = self._bucket._replace(prompts=fewer)
        self._lay_out()

    def decode(self, token_ids: Tensor) -> Tensor:
        """Return the (B, D) hidden states after one more token of every row, (B,) int64."""
        self._check_current()
        if self.filled == self.max_new_tokens:
            raise full_error(self.filled)
        buffers = self._decoder.buffers
        buffers.token_ids[: self.num_rows].copy_(token_ids)
        buffers.slot.fill_(self.filled)
        self.filled += 1
        self._decoder.run(self._text, self._bucket._replace(slots=slot_bucket(self.filled)))
        return buffers.hidden[: self.num_rows].clone()  # the next step overwrites it

    def _check_current(self) -> None:
        if self._decoder.state is not self:
            raise RuntimeError(
                "a later prefill took this state's caches: finish one rollout before the next, or"
                ' set policy.decode_graphs = "off"'
            )

    def _fill_caches(self, keys_values: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Begin with zeros and the prompts' keys and values, (N, Hkv, P, d) per layer."""
        rows, slots, _, prompt_slots, _ = self._bucket
        buffers, longest = self._decoder.buffers, max(self._lengths)
        buffers.own[:, :, :rows, :, :slots].zero_()
        count = len(self._lengths)
        buffers.prompts[:, :, :count, :, longest:prompt_slots].zero_()
        for layer, entry in zip(buffers.prompts, keys_values, strict=True):
            for cache, computed in zip(layer, entry, strict=True):
                cache[:count, :, :longest].copy_(computed)

    def _keep_prompts(self, used: list[int]) -> None:
        """Move the prompts that still have rows to the front."""
        caches = self._decoder.buffers.prompts
        index = torch.tensor(used, device=caches.device)
        for layer in caches:  # (2, N, Hkv, P, d)
            layer[:, : len(used)] = layer.index_select(1, index)
        self._cos, self._sin = self._cos[index], self._sin[index]
        self._lengths = [self._lengths[prompt] for prompt in used]
        self._owners = [used.index(owner) for owner in self._owners]

    def _lay_out(self) -> None:
        """Write what depends on which row has which prompt; padding rows repeat row 0."""
        buffers, bucket = self._decoder.buffers, self._bucket
        device, padding = buffers.own.device, bucket.rows - self.num_rows
        owners = torch.tensor(self._owners + self._owners[:1] * padding, device=device)  # (R,)
        tokens = self.max_new_tokens
        buffers.cos[: bucket.rows, :tokens] = self._cos[owners]
        buffers.sin[: bucket.rows, :tokens] = self._sin[owners]
        lengths = torch.tensor(self._lengths, device=device)[owners]
        behind = torch.arange(bucket.prompt_slots, device=device) >= lengths[:, None]  # (R, P)
        mask = buffers.prompt_mask[: bucket.rows, : bucket.prompt_slots]
        mask.zero_().masked_fill_(behind, -torch.inf)
        kv_heads = buffers.own.shape[3]
        cell_rows, row_cells = grid_indices(self._owners, bucket, kv_heads)
        buffers.cell_rows[: cell_rows.numel()] = cell_rows.to(device)
        buffers.row_cells[: row_cells.numel()] = row_cells.to(device)


def grid_indices(owners: Sequence[int], bucket: Bucket, kv_heads: int) -> tuple[Tensor, Tensor]:
    """Return which (row, head) each (prompt, head, cell) shows, and where each (row, head) is.

    (N * Hkv * G,) and (R * Hkv,) int64. A cell without a row shows row 0, and nobody reads it; a
    padding row reads where row 0 does.
    """
    cell_rows = torch.zeros(bucket.prompts, bucket.cells, dtype=torch.int64)
    places = torch.zeros(bucket.rows, 2, dtype=torch.int64)  # prompt, cell
    seen = [0] * bucket.prompts
    for row, owner in enumerate(owners):
        cell_rows[owner, seen[owner]] = row
        places[row] = torch.tensor([owner, seen[owner]])
        seen[owner] += 1
    places[len(owners) :] = places[0]
    heads = torch.arange(kv_heads)
    shown = cell_rows[:, None] * kv_heads + heads[:, None]  # (N, Hkv, G)
    prompt, cell = places[:, :1], places[:, 1:]
    found = (prompt * kv_heads + heads) * bucket.cells + cell  # (R, Hkv)
    return shown.flatten(), found.flatten()
