"""Eager decoding, operation by operation: what a CPU runs, and any device without CUDA graphs.

Nothing that does not depend on the token is done per token: rotary tables, masks and fused weights
are made once in `start`, and the caches have room for all tokens to come.

Shapes: N prompts, B rows, P prompt slots, S cache slots, D hidden size, H query heads, Hkv
key/value heads, r = H / Hkv, d head size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from models.architecture import Decoder
from models.decode.layer import FusedWeights, can_fold_norms, next_hidden
from models.decode.prompt_readers import Reader, reader_for
from models.decode.state import full_error, tables_to_come
from models.prompts.prompt import EncodedPrompt
from models.rotary import rotate
from models.shared.groups import PackedGroups
from models.shared.padded import KeysValues


@dataclass
class EagerState:
    """Caches of B rows, one slot per decoded token, and what stands before them.

    Where prompts are shared, the reader holds each once and the caches begin with the first decoded
    token (P = 0). Else slots 0 .. P - 1 of the caches hold the row's prompt.

    A padding slot after a shorter prompt holds a copy of that prompt's last token, hidden by the
    mask. Slots from `filled` on are uninitialized and may be NaN: they are never read, since a mask
    does not hide a NaN (0 * NaN is NaN).
    """

    text: Decoder
    weights: FusedWeights
    reader: Reader
    keys: list[Tensor]  # per layer, (B, Hkv, S, d)
    values: list[Tensor]
    cos: Tensor  # (B, S - P, 1, d), of each token to come, at least float32
    sin: Tensor  # (B, S - P, 1, d), signed: see models/rotary.py
    prompt_slots: int  # P
    filled: int  # slots in use

    @property
    def num_rows(self) -> int:
        """Rows that are still decoded, B."""
        return len(self.cos)

    def decode(self, token_ids: Tensor) -> Tensor:
        """Return the (B, D) hidden states after one more token of every row, (B,) int64."""
        slot, token = self.filled, self.filled - self.prompt_slots
        if slot == self.keys[0].shape[2]:
            raise full_error(token)
        self.filled += 1
        context = EagerContext(self, slot, self.cos[:, token], self.sin[:, token])
        return next_hidden(self.text, self.weights, token_ids, context)

    def select(self, rows: Tensor) -> None:
        """Keep only these rows, (B',) int64, in this order: the others cost nothing any more."""
        rows = rows.to(self.cos.device)
        self.reader.select(rows)
        # Copies and no views: the memory of rows that left is given back, layer by layer.
        for caches in (self.keys, self.values):
            for layer, cache in enumerate(caches):
                caches[layer] = _rows_of(cache, rows, self.filled)
        self.cos, self.sin = self.cos[rows], self.sin[rows]


@dataclass(frozen=True)
class EagerContext:
    """Where one token of the state's rows goes, and how it is rotated: made anew per token."""

    state: EagerState
    slot: int
    cos: Tensor  # (B, 1, d)
    sin: Tensor  # (B, 1, d), signed

    def rotate(self, heads: Tensor) -> Tensor:
        """Return the heads, (B, H + Hkv, d), with the rotary position of their row's token."""
        return rotate(heads, self.cos, self.sin)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Cache key and value, (B, Hkv, 1, d); return the attention output, (B, Hkv, r, d)."""
        state, end = self.state, self.slot + 1
        # Views of the slots in use alone: memory that was never written is not read.
        keys, values = state.keys[layer][:, :, :end], state.values[layer][:, :, :end]
        keys[:, :, self.slot :] = key
        values[:, :, self.slot :] = value
        return state.reader.read(layer, query, keys, values, scale)


def start(
    text: Decoder,
    prompts: Sequence[EncodedPrompt],
    groups: PackedGroups,
    keys_values: Sequence[KeysValues],
    max_new_tokens: int,
) -> EagerState:
    """Return the state after prompts of these keys and values, one entry per layer."""
    reader = reader_for(groups, keys_values, max(groups.prompt_lengths) + max_new_tokens)
    prompt_slots = max(groups.prompt_lengths) if reader.in_caches else 0

    # Room for every token to come: a cache that grew would be copied at each of them.
    keys, values = (
        [_cache(entry[kind][:, :, :prompt_slots], groups, max_new_tokens) for entry in keys_values]
        for kind in range(2)
    )
    cos, sin = tables_to_come(text, prompts, max_new_tokens)  # (N, max_new_tokens, d)

    # An update may have changed the weights since the last rollout.
    weights = FusedWeights(text, fold_norms=can_fold_norms(text))
    weights.refresh(text)
    return EagerState(
        text=text,
        weights=weights,
        reader=reader,
        keys=keys,
        values=values,
        cos=groups.repeat_prompts(cos)[:, :, None],
        sin=groups.repeat_prompts(sin)[:, :, None],
        prompt_slots=prompt_slots,
        filled=prompt_slots,
    )


def _cache(prompt: Tensor, groups: PackedGroups, max_new_tokens: int) -> Tensor:
    """Return (B, Hkv, P + max_new_tokens, d) that begins with each row's (Hkv, P, d) prompt."""
    kv_heads, longest, head_size = prompt.shape[1:]
    cache = prompt.new_empty(groups.num_rows, kv_heads, longest + max_new_tokens, head_size)
    cache[:, :, :longest] = groups.repeat_prompts(prompt)
    return cache


def _rows_of(cache: Tensor, rows: Tensor, filled: int) -> Tensor:
    """Return a cache of only these rows, copying only the slots in use."""
    kept = cache.new_empty(len(rows), *cache.shape[1:])  # (B', Hkv, S, d)
    # What lies beyond was never written: copying it would only take time.
    kept[:, :, :filled] = cache[:, :, :filled].index_select(0, rows)
    return kept
