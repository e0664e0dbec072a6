"""Groups packed into one row: every prompt once, then all of its completions, no padding anywhere.

    [ p1 p1 p1 | p2 p2 | c11 c11 | c12 | c21 c21 | c22 ]       cNG: completion G of prompt N

Everything in a transformer but attention treats tokens one by one, so the layers run on the packed
row as on any other; in attention each completion token attends to its own group's prompt, at its
beginning of the row, and to its own completion (models/shared/attention.py). A prompt is computed
once however many completions it has, and its gradient is the sum over them.

This file knows where each token lies and nothing of what is done with it: it packs and pads.
Padded rectangles are for attention kernels that want them; padding stands on the right, where
causal attention hides it from every real token.

Shapes: N prompts, M completion rows (prompt-major), P prompt tokens (of the longest), C completion
tokens that are fed (of the longest row), T packed tokens (T_p of prompts, T_c of completions), S
scored tokens, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from models.prompts.prompt import EncodedPrompt


@dataclass(frozen=True)
class PackedGroups:
    """Which token of a packed row belongs where; made once per forward, used by every layer.

    Index tensors are worked out on the CPU, where their sizes are known without a wait.
    """

    prompt_lengths: Sequence[int]  # N of them
    rows_per_prompt: Sequence[int]  # N of them, they sum to M
    completion_lengths: Sequence[int]  # M of them, tokens that are fed; all 0 for prompts alone
    device: torch.device
    dtype: torch.dtype  # of masks

    def __post_init__(self) -> None:
        """Make now what is needed after the layers: later its copy to a GPU would wait for them."""
        _ = self.row_to_prompt, self.last_tokens

    @property
    def num_prompt_tokens(self) -> int:
        """Tokens of all prompts together, T_p."""
        return sum(self.prompt_lengths)

    @property
    def num_completion_tokens(self) -> int:
        """Tokens of all completions together, T_c."""
        return sum(self.completion_lengths)

    @property
    def num_rows(self) -> int:
        """Completion rows, M."""
        return sum(self.rows_per_prompt)

    @property
    def prompt_length(self) -> int:
        """Tokens of the longest prompt, P."""
        return max(self.prompt_lengths)

    @property
    def completion_length(self) -> int:
        """Tokens of the longest completion that are fed, C."""
        return max(self.completion_lengths)

    @cached_property
    def row_to_prompt(self) -> Tensor:
        """The prompt of each row, (M,) int64."""
        counts = torch.tensor(self.rows_per_prompt)  # (N,)
        return torch.arange(len(counts)).repeat_interleave(counts).to(self.device)

    @cached_property
    def last_tokens(self) -> Tensor:
        """Where each prompt's last token lies in the packed row, (N,) int64."""
        return (torch.tensor(self.prompt_lengths).cumsum(0) - 1).to(self.device)

    @cached_property
    def padding(self) -> "Padding | None":
        """Index tensors that pad prompts to (N, P); None when they are equally long."""
        return Padding.of(self.prompt_lengths, self.device)

    @cached_property
    def own_padding(self) -> "Padding | None":
        """Index tensors that pad completions to (M, C); None when they are equally long."""
        return Padding.of(self.completion_lengths, self.device)

    @cached_property
    def prompt_padding_mask(self) -> Tensor | None:
        """Additive, hides the padding after shorter prompts: (N, 1, 1, P); None without any."""
        if self.padding is None:
            return None
        lengths = torch.tensor(self.prompt_lengths, device=self.device)  # (N,)
        slots = torch.arange(self.prompt_length, device=self.device)  # (P,)
        mask = torch.zeros(len(lengths), len(slots), dtype=self.dtype, device=self.device)  # (N, P)
        # Additive and not bool: SDPA takes both, the flash operators called directly only this.
        return mask.masked_fill_(slots >= lengths[:, None], -torch.inf)[:, None, None]

    def split(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prompts' (T_p, ...) and the completions' (T_c, ...) tokens of (T, ...).

        Not two slices: the backward of a split is one concatenation, theirs two zero-padded sums.
        """
        prompts, completions = packed.split([self.num_prompt_tokens, self.num_completion_tokens])
        return prompts, completions

    def pad_prompts(self, packed: Tensor) -> Tensor:
        """Return (N, P, ...) of the packed (T_p, ...); the padding repeats a real token."""
        if self.padding is not None:
            packed = packed.index_select(0, self.padding.source)
        return packed.unflatten(0, (len(self.prompt_lengths), -1))

    def pack_prompts(self, padded: Tensor) -> Tensor:
        """Return the packed (T_p, ...) of (N, P, ...): the inverse of `pad_prompts`."""
        flat = padded.flatten(0, 1)
        return flat if self.padding is None else flat.index_select(0, self.padding.kept)

    def pad_completions(self, packed: Tensor) -> Tensor:
        """Return (M, C, ...) of the packed (T_c, ...), zeros after shorter completions."""
        if self.own_padding is None:
            return packed.unflatten(0, (self.num_rows, -1))
        # Zeros, not whatever memory holds: a NaN would pass through a weight of 0.
        padded = packed.new_zeros(self.num_rows * self.completion_length, *packed.shape[1:])
        padded = padded.index_copy(0, self.own_padding.kept, packed)
        return padded.unflatten(0, (self.num_rows, -1))

    def pack_completions(self, padded: Tensor) -> Tensor:
        """Return the packed (T_c, ...) of (M, C, ...): the inverse of `pad_completions`."""
        flat = padded.flatten(0, 1)
        return flat if self.own_padding is None else flat.index_select(0, self.own_padding.kept)

    def repeat_prompts(self, per_prompt: Tensor) -> Tensor:
        """Return (M, ...) with each prompt's entry of (N, ...) once per completion row."""
        rows = self.rows_per_prompt
        # An expanded view sums its gradient faster than an index does.
        if min(rows) == max(rows):
            repeated = per_prompt[:, None].expand(-1, rows[0], *per_prompt.shape[1:])
            return repeated.flatten(0, 1)
        # The backward of an index adds the rows' gradients one by one: in float32.
        if per_prompt.requires_grad:
            wide = torch.promote_types(per_prompt.dtype, torch.float32)
            return per_prompt.to(wide).index_select(0, self.row_to_prompt).to(per_prompt.dtype)
        return per_prompt.index_select(0, self.row_to_prompt)

    def keep_read(self, packed: Tensor) -> Tensor:
        """Return (N + T_c, ...) of (T, ...): each prompt's last token, then all completion tokens.

        These are the tokens whose last hidden states are used: each predicts a completion token.
        """
        prompts, completions = self.split(packed)
        return torch.cat([prompts.index_select(0, self.last_tokens), completions])

    def predicting(self, ends: Tensor, fed: Tensor) -> Tensor:
        """Return (S, D), row after row: the state that predicts each of a row's tokens.

        The first is predicted from its prompt's last token, the rest from the tokens that were fed.

        Args:
            ends: (N, D), of each prompt's last token.
            fed: (T_c, D).
        """
        # All rows of a prompt begin from one state; its gradient is the sum of theirs.
        first = self.repeat_prompts(ends)  # (M, D)
        # Equally long rows are a rectangle: a concatenation costs less than an index.
        if min(self.completion_lengths) == self.completion_length:
            fed = fed.unflatten(0, (self.num_rows, -1))  # (M, C, D)
            return torch.cat([first[:, None], fed], dim=1).flatten(0, 1)
        return torch.cat([first, fed]).index_select(0, self._first_then_fed())

    def _first_then_fed(self) -> Tensor:
        """Return where each row's states lie in [M first ones | T_c fed ones], (S,) int64."""
        # A row scores one token more than it is fed: its first is predicted from the prompt.
        fed = torch.tensor(self.completion_lengths)  # (M,)
        starts = self.num_rows + fed.cumsum(0) - fed  # (M,) where each row's fed tokens begin
        counts = fed + 1  # (M,)
        before = counts.cumsum(0) - counts  # (M,) scored tokens of earlier rows
        # Token 0 of a row is its first state, token t its fed token t - 1.
        within = torch.arange(int(counts.sum())) - before.repeat_interleave(counts)  # (S,)
        rest = starts.repeat_interleave(counts) + within - 1  # (S,)
        rows = torch.arange(self.num_rows).repeat_interleave(counts)  # (S,)
        return torch.where(within == 0, rows, rest).to(self.device)


@dataclass(frozen=True)
class Padding:
    """Index tensors between packed sequences and a padded batch, here N prompts of P tokens."""

    source: Tensor  # (N * P,) the packed token that fills each slot
    kept: Tensor  # (T_p,) the slot of each packed token

    @classmethod
    def of(cls, lengths_of: Sequence[int], device: torch.device) -> "Padding | None":
        """Return the index tensors for sequences of these lengths; None when all are equal."""
        lengths = torch.tensor(lengths_of)  # (N,)
        if lengths.min() == lengths.max():
            return None
        slots = torch.arange(int(lengths.max()))  # (P,)
        starts = lengths.cumsum(0) - lengths  # (N,)
        # Slots after the end repeat the last token, so what fills them is finite.
        source = starts[:, None] + torch.minimum(slots, lengths[:, None] - 1)  # (N, P)
        kept = (slots < lengths[:, None]).flatten().nonzero().squeeze(1)  # (T_p,)
        return cls(source.flatten().to(device), kept.to(device))


def packed_positions(prompts: Sequence[EncodedPrompt], groups: PackedGroups) -> Tensor:
    """Return the 3-D positions of the packed tokens, (3, 1, T) int64 on the CPU.

    Token t of a completion stands at prompt.next_position + t on all three axes, as if it followed
    its prompt alone.
    """
    # Not the prompt's length: an image takes fewer positions than it has tokens.
    starts = torch.tensor([prompt.next_position for prompt in prompts])  # (N,)
    rows = starts.repeat_interleave(torch.tensor(groups.rows_per_prompt))  # (M,)
    tokens = torch.arange(groups.completion_length)  # (C,)
    completions = rows[:, None] + tokens  # (M, C)
    fed = tokens < torch.tensor(groups.completion_lengths)[:, None]  # (M, C)
    of_prompts = [prompt.position_ids for prompt in prompts]  # (3, P) each
    return torch.cat([*of_prompts, completions[fed].expand(3, -1)], dim=1)[:, None]
