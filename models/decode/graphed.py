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
from models.decode.buffers import (
    Bucket,
    DecodeBuffers,
    LiveRows,
    Views,
    count_bucket,
    slot_bucket,
)
from models.decode.graphed_step import run_step
from models.decode.graphs import Function, Graphs
from models.decode.layer import FusedWeights
from models.decode.state import full_error, tables_to_come
from models.prompts.prompt import EncodedPrompt
from models.shared.groups import PackedGroups
from models.shared.padded import KeysValues


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
        keys_values: Sequence[KeysValues],
        max_new_tokens: int,
    ) -> "GraphedState":
        """Return the state after prompts of these keys and values, one entry per layer.

        An earlier state ends here: its rows are overwritten.
        """
        # Rounded up, so that rollouts of about the same size meet the same graphs.
        bucket = Bucket(
            rows=count_bucket(groups.num_rows),
            slots=slot_bucket(max_new_tokens),
            prompts=count_bucket(len(prompts)),
            prompt_slots=slot_bucket(max(groups.prompt_lengths)),
            cells=count_bucket(max(groups.rows_per_prompt)),
        )
        weights, buffers = self._make_room(text, bucket)
        weights.refresh(text)
        buffers.fill(bucket, keys_values)

        cos, sin = tables_to_come(text, prompts, max_new_tokens)
        rows = LiveRows(groups.row_to_prompt.tolist(), list(groups.prompt_lengths), cos, sin)
        self.state = GraphedState(self, text, weights, buffers, rows, bucket)
        return self.state

    def _make_room(self, text: Decoder, needed: Bucket) -> tuple[FusedWeights, DecodeBuffers]:
        """Return what a rollout works in; drop it and its graphs first where they do not fit.

        Graphs hold addresses of weights, which may have moved, and of buffers, which may be too
        small.
        """
        weights, buffers = self.weights, self.buffers
        addresses = [(weight.data_ptr(), weight.dtype) for weight in text.parameters()]
        if weights is None or addresses != self._addresses:
            self.graphs.clear()
            self.state = self.buffers = self.weights = buffers = weights = None
            self._addresses = addresses
            self.weights = weights = FusedWeights(text, fold_norms=False)
        if buffers is None or not buffers.capacity.holds(needed):
            held = needed if buffers is None else buffers.capacity
            self.graphs.clear()
            # the last references to the old ones go first: old and new together may not fit
            self.state = self.buffers = buffers = None
            self.buffers = buffers = DecodeBuffers(text, Bucket(*map(max, needed, held)))
        return weights, buffers


def choose_decoder(
    mode: str, device: torch.device, held: GraphedDecoder | None
) -> GraphedDecoder | None:
    """Return the decoder that `policy.decode_graphs` asks for; None is decoding without graphs.

    Args:
        mode: "auto" captures graphs on CUDA and has none on a CPU; "off" has none anywhere;
            "stand-in" calls the graphs' own step instead, on any device.
        device: the policy's.
        held: the one in use, which is kept where it fits: its graphs are worth keeping.
    """
    if mode not in ("auto", "off", "stand-in"):
        raise ValueError(f"policy.decode_graphs is {mode!r}: choose 'auto', 'off' or 'stand-in'")
    on_cuda = mode == "auto" and device.type == "cuda"
    if not on_cuda and mode != "stand-in":
        return None
    captured_on = device if on_cuda else None
    if held is None or held.device != captured_on:
        return GraphedDecoder(captured_on)
    return held


class GraphedState:
    """B rows in a decoder's buffers; what changes with the rows is worked out on the host."""

    def __init__(
        self,
        decoder: GraphedDecoder,
        text: Decoder,
        weights: FusedWeights,
        buffers: DecodeBuffers,
        rows: LiveRows,
        bucket: Bucket,
    ) -> None:
        self._decoder, self._text, self._weights = decoder, text, weights
        self._buffers, self._rows, self._bucket = buffers, rows, bucket
        self.filled = 0  # own slots in use
        buffers.lay_out(bucket, rows)

    @property
    def num_rows(self) -> int:
        """Rows that are still decoded, B."""
        return len(self._rows.owners)

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, (B',) int64, in this order, in the smallest bucket for them."""
        self._check_current()
        # They move to the front, so that the smaller bucket is the beginning of the same tensors.
        own = self._buffers.own
        index = rows.to(own.device)
        for layer in own[:, :, :, :, : self.filled]:  # (2, R, Hkv, filled, d)
            layer[:, : len(index)] = layer.index_select(1, index)
        left = self._rows
        left.owners = [left.owners[row] for row in rows.tolist()]
        self._bucket = self._bucket._replace(rows=count_bucket(self.num_rows))

        # Prompts without rows leave only by halves: each size is a graph of its own.
        used = sorted(set(left.owners))
        fewer = count_bucket(len(used))
        if 2 * fewer <= self._bucket.prompts:
            kept = torch.tensor(used, device=own.device)
            for layer in self._buffers.prompts:  # (2, N, Hkv, P, d)
                layer[:, : len(used)] = layer.index_select(1, kept)
            left.keep_prompts(used, kept)
            self._bucket = self._bucket._replace(prompts=fewer)
        self._buffers.lay_out(self._bucket, left)

    def decode(self, token_ids: Tensor) -> Tensor:
        """Return the (B, D) hidden states after one more token of every row, (B,) int64."""
        self._check_current()
        if self.filled == self._rows.max_new_tokens:
            raise full_error(self.filled)
        # Written, not passed: a graph reads what lies at its addresses when it is replayed.
        text, weights, buffers = self._text, self._weights, self._buffers
        buffers.token_ids[: self.num_rows].copy_(token_ids)
        buffers.slot.fill_(self.filled)
        self.filled += 1
        # Own slots are read in multiples of the bucket's: few graphs, and few empty slots are read.
        bucket = self._bucket._replace(slots=slot_bucket(self.filled))

        def make() -> Function:
            views = Views(buffers, bucket)
            return lambda: run_step(text, weights, views)

        self._decoder.graphs.get(bucket, make).replay()
        return buffers.hidden[: self.num_rows].clone()  # the next step overwrites it

    def _check_current(self) -> None:
        """Raise a RuntimeError where a later prefill has overwritten this state's rows."""
        if self._decoder.state is not self:
            raise RuntimeError(
                "a later prefill took this state's caches: finish one rollout before the next"
            )
