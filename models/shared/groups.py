"""Groups packed into one row: every prompt once, then all of its completions, no padding anywhere.

    packed tokens:  [prompt 0 | prompt 1 | ... | completion of row 0 | completion of row 1 | ...]

Everything in a transformer but attention treats tokens one by one, so the layers run on the packed
row as on any other; `models/shared/attention.py` is where a completion sees its own group's prompt.
The prompt is computed once however many completions it has, and its gradient is the sum over them.

On CUDA in half precision attention reads the packed tokens as they lie (models/shared/varlen.py).
Elsewhere it wants rectangles: there shorter prompts and completions are padded, and packed again
behind it.

Shapes: N prompts, M completion rows (prompt-major), P prompt tokens (of the longest), C completion
tokens that are fed (of the longest row), T packed tokens, H query heads, Hkv key/value heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from models.prompts.prompt import EncodedPrompt
from models.shared.varlen import Flash, PackedSegments


@dataclass
class PackedGroups:
    """Which packed token belongs where; built once per forward, used by every layer."""

    prompt_lengths: list[int]  # N of them
    rows_per_prompt: list[int]  # N of them, they sum to M
    completion_lengths: list[int]  # M of them, tokens that are fed; all 0 in a prefill
    device: torch.device
    dtype: torch.dtype
    query_heads_per_key: int  # H / Hkv
    flash: Flash | None = None  # what reads the packed tokens as they lie, where there is such
    # When not None, attention appends each layer's prompt keys and values, (N, Hkv, P, head_dim).
    recorded: list[tuple[Tensor, Tensor]] | None = None
    # When not None, these of an earlier pass, per layer: no prompt token is packed, all are there.
    given: list[tuple[Tensor, Tensor]] | None = None

    row_to_prompt: Tensor = field(init=False)  # (M,) int64
    last_tokens: Tensor = field(init=False)  # (N,) int64, each prompt's last packed token
    segments: PackedSegments | None = field(init=False, default=None)  # with flash; no mask then
    # Else of the completions' attention, one of two: over [prompt, own tokens] ..
    mask: Tensor | None = field(init=False, default=None)
    # .. or, where the two are read apart (models/shared/merged.py), over the own ones: (C', C)
    own_mask: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        lengths = torch.tensor(self.prompt_lengths)
        rows = torch.tensor(self.rows_per_prompt)
        # indices are worked out on the CPU, where their sizes are known without a wait
        row_to_prompt = torch.arange(len(lengths)).repeat_interleave(rows)
        self.row_to_prompt = row_to_prompt.to(self.device)
        self.last_tokens = (lengths.cumsum(0) - 1).to(self.device)
        if self.flash is not None:
            self.segments = PackedSegments.of(
                self.prompt_lengths, self.rows_per_prompt, self.completion_lengths, self.device
            )
        elif self.reads_apart:
            self._make_own_mask()
        elif self.completion_length:
            self.mask = self._completion_mask(lengths[row_to_prompt].to(self.device))

    @cached_property
    def padding(self) -> "Padding | None":
        """Of the prompts; None when they are equally long."""
        return Padding.of(self.prompt_lengths, self.device)

    @cached_property
    def own_padding(self) -> "Padding | None":
        """Of the completions; None when they are equally long."""
        return Padding.of(self.completion_lengths, self.device)

    @property
    def completion_length(self) -> int:
        """C."""
        return max(self.completion_lengths)

    @property
    def reads_apart(self) -> bool:
        """Whether completions read their prompt apart from their own tokens, without copies of it.

        Faster on a CPU from P = 4 C on (forward and backward, 2 threads, 2 prompts of 16 rows, 4
        heads of 64: P 1,024 and C 32 29 against 64 ms; P 64 and C 32 5.3 against 4.6). On CUDA
        models/shared/varlen.py does so for any shape, in half precision; float32 copies there.
        """
        rows = self.rows_per_prompt
        equal = min(rows) == max(rows) > 1
        long = max(self.prompt_lengths) >= 4 * self.completion_length > 0
        return self.device.type == "cpu" and equal and long

    @property
    def num_prompt_tokens(self) -> int:
        """How many of the packed tokens are prompts'."""
        return sum(self.prompt_lengths) if self.given is None else 0

    @property
    def num_rows(self) -> int:
        return sum(self.rows_per_prompt)

    def pad_prompts(self, packed: Tensor) -> Tensor:
        """Return (N, P, ...) of the packed (T_prompts, ...); the padding repeats a real token.

        Padding stands on the right, so causal attention hides it from every real prompt token.
        """
        if self.padding is None:
            return packed.unflatten(0, (len(self.prompt_lengths), -1))
        padded = packed.index_select(0, self.padding.source)
        return padded.unflatten(0, (len(self.prompt_lengths), -1))

    def pack_prompts(self, padded: Tensor) -> Tensor:
        """Return the packed (T_prompts, ...) of (N, P, ...): the inverse of `pad_prompts`."""
        flat = padded.flatten(0, 1)
        return flat if self.padding is None else flat.index_select(0, self.padding.kept)

    def pad_completions(self, packed: Tensor) -> Tensor:
        """Return (M, C, ...) of the packed (T_completions, ...), zeros behind shorter completions.

        Causal attention hides them from every real token of their row.
        """
        if self.own_padding is None:
            return packed.unflatten(0, (self.num_rows, -1))
        padded = packed.new_zeros(self.num_rows * self.completion_length, *packed.shape[1:])
        padded = padded.index_copy(0, self.own_padding.kept, packed)
        return padded.unflatten(0, (self.num_rows, -1))

    def pack_completions(self, padded: Tensor) -> Tensor:
        """Return the packed (T_completions, ...) of (M, C, ...): the inverse of the above."""
        flat = padded.flatten(0, 1)
        return flat if self.own_padding is None else flat.index_select(0, self.own_padding.kept)

    def first_then_rest(self) -> Tensor | None:
        """Return where to find each row's tokens in [M first ones | T_completions fed ones].

        (S,) int64 indices, row after row: the state behind the prompt predicts a row's first token,
        its fed tokens the rest. None where rows are equally long and a reshape does it.
        """
        if min(self.completion_lengths) == self.completion_length:
            return None
        fed = torch.tensor(self.completion_lengths)
        starts = self.num_rows + fed.cumsum(0) - fed  # of each row's fed tokens
        counts = fed + 1
        within = torch.arange(int(counts.sum())) - (counts.cumsum(0) - counts).repeat_interleave(
            counts
        )
        rest = starts.repeat_interleave(counts) + within - 1
        rows = torch.arange(self.num_rows).repeat_interleave(counts)
        return torch.where(within == 0, rows, rest).to(self.device)

    def repeat_prompts(self, per_prompt: Tensor) -> Tensor:
        """Return (M, ...) with each prompt's entry of (N, ...) once per completion row."""
        rows = self.rows_per_prompt
        if min(rows) == max(rows):  # an expanded view sums its gradient faster than an index does
            repeated = per_prompt[:, None].expand(-1, rows[0], *per_prompt.shape[1:])
            return repeated.flatten(0, 1)
        if per_prompt.requires_grad:  # the rows' gradients are added up one by one: in float32
            wide = torch.promote_types(per_prompt.dtype, torch.float32)
            return per_prompt.to(wide).index_select(0, self.row_to_prompt).to(per_prompt.dtype)
        return per_prompt.index_select(0, self.row_to_prompt)

    def read_tokens(self, packed: Tensor) -> Tensor:
        """Return (K, ...) of (T, ...): each prompt's last token, then all completion tokens."""
        tokens = [self.num_prompt_tokens, len(packed) - self.num_prompt_tokens]
        prompts, own = packed.split(tokens)
        return torch.cat([prompts.index_select(0, self.last_tokens), own])

    @cached_property
    def prompt_padding_mask(self) -> Tensor | None:
        """Additive, hides the padding behind shorter prompts: (N, 1, 1, P); None without any."""
        if self.padding is None:
            return None
        lengths = torch.tensor(self.prompt_lengths, device=self.device)
        slots = torch.arange(max(self.prompt_lengths), device=self.device)
        mask = torch.zeros(len(lengths), len(slots), dtype=self.dtype, device=self.device)
        return mask.masked_fill_(slots >= lengths[:, None], -torch.inf)[:, None, None]

    def _make_own_mask(self) -> None:
        length = self.completion_length
        hidden = torch.ones(length, length, dtype=torch.bool, device=self.device).triu(1)
        mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device)
        self.own_mask = mask.masked_fill_(hidden, -torch.inf).repeat(self.query_heads_per_key, 1)

    def _completion_mask(self, row_lengths: Tensor) -> Tensor:
        """Return the additive mask of completion queries over [prompt, own tokens].

        (C', P + C) when prompts are equally long, else (M, 1, C', P + C); C' = C * H / Hkv, since
        the query heads that share a key head are folded into the query length. Made on the device:
        with prompts of different lengths it is the largest thing a forward would copy there.
        """
        longest, length = max(self.prompt_lengths), self.completion_length
        everything = torch.ones(length, longest + length, dtype=torch.bool, device=self.device)
        visible = everything.tril(longest)
        if self.padding is not None:
            slots = torch.arange(longest + length, device=self.device)
            readable = (slots < row_lengths[:, None]) | (slots >= longest)  # (M, P + C)
            visible = visible & readable[:, None, None, :]
        mask = torch.zeros(visible.shape, dtype=self.dtype, device=self.device)
        mask.masked_fill_(~visible, -torch.inf)
        repeats = [1] * (mask.dim() - 2) + [self.query_heads_per_key, 1]
        return mask.repeat(repeats)  # heads outermost, as folded_attention reads it


@dataclass(frozen=True)
class Padding:
    """Index tensors between packed sequences and a padded batch, here N prompts of P tokens."""

    source: Tensor  # (N * P,) the packed token that fills each slot
    kept: Tensor  # (T_prompts,) the slot of each packed token

    @classmethod
    def of(cls, lengths_of: Sequence[int], device: torch.device) -> "Padding | None":
        lengths = torch.tensor(lengths_of)
        if lengths.min() == lengths.max():
            return None
        slots = torch.arange(int(lengths.max()))  # (P,)
        starts = lengths.cumsum(0) - lengths  # (N,)
        source = starts[:, None] + torch.minimum(slots, lengths[:, None] - 1)  # (N, P)
        kept = (slots < lengths[:, None]).flatten().nonzero().squeeze(1)
        return cls(source.flatten().to(device), kept.to(device))


def packed_positions(prompts: Sequence[EncodedPrompt], groups: PackedGroups) -> Tensor:
    """Return the 3-D positions of the packed tokens, (3, 1, T) int64 on the CPU.

    Token t of a completion stands at prompt.next_position + t on all three axes.
    """
    starts = torch.tensor([prompt.next_position for prompt in prompts])  # (N,)
    rows = starts.repeat_interleave(torch.tensor(groups.rows_per_prompt))  # (M,)
    completions = rows[:, None] + torch.arange(groups.completion_length)  # (M, C)
    fed = torch.arange(groups.completion_length) < torch.tensor(groups.completion_lengths)[:, None]
    completions = completions[fed]
    pieces = [prompt.position_ids for prompt in prompts] if groups.given is None else []
    return torch.cat([*pieces, completions.expand(3, -1)], dim=1)[:, None]
