"""Packed groups of every shape, and what attention over them is by one softmax under a dense mask.

Shapes: N prompts, M rows, T packed tokens, H query heads, Hkv key/value heads, d head size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.shared.flash import Flash
from models.shared.varlen import PackedSegments, varlen_attention

SCALE = 0.3
GRADIENTS = ("grad of query", "grad of key", "grad of value")


@dataclass(frozen=True)
class Case:
    """Lengths of prompts and completions; the rows of each prompt."""

    prompts: list[int]  # N
    rows: list[int]  # N
    completions: list[int]  # M
    heads: int = 4
    key_heads: int = 2
    size: int = 8

    @property
    def num_tokens(self) -> int:
        """T."""
        return sum(self.prompts) + sum(self.completions)

    def segments(self, device: str = "cpu") -> PackedSegments:
        return PackedSegments.of(self.prompts, self.rows, self.completions, torch.device(device))

    def inputs(self, dtype: torch.dtype, size: float = 1.0, device: str = "cpu") -> list[Tensor]:
        """Return query (T, H, d), key and value (T, Hkv, d), drawn in float64 and rounded."""
        generator = torch.Generator().manual_seed(0)
        heads = (self.heads, self.key_heads, self.key_heads)
        shapes = [(self.num_tokens, count, self.size) for count in heads]
        made = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
        made[0] *= size
        return [tensor.to(device, dtype) for tensor in made]

    def visible(self) -> Tensor:
        """Return (T, T), True where a token reads another, written down token by token."""
        owners = [prompt for prompt, rows in enumerate(self.rows) for _ in range(rows)]
        tokens = [(p, None, i) for p, length in enumerate(self.prompts) for i in range(length)]
        for row, length in enumerate(self.completions):
            tokens += [(owners[row], row, i) for i in range(length)]

        def reads(query: tuple, key: tuple) -> bool:
            if query[0] != key[0]:
                return False  # another group's
            if query[1] == key[1]:
                return key[2] <= query[2]
            return key[1] is None  # its prompt, all of it, but no sibling

        return torch.tensor([[reads(query, key) for key in tokens] for query in tokens])


CASES = {
    "everything unequal": Case([3, 6, 1], [2, 1, 3], [4, 1, 2, 0, 3, 5]),
    "equal": Case([4, 4], [2, 2], [3] * 4),
    "a group without tokens": Case([3, 2, 4], [1, 2, 1], [2, 0, 0, 1]),
    "one token each": Case([2, 3], [2, 2], [1, 0, 1, 1]),
    "a prefill": Case([5, 2, 3], [2, 1, 4], [0] * 7),
    "one group of one row, no shared heads": Case([4], [1], [3], heads=2, key_heads=2),
}


def run(flash: Flash, case: Case, inputs: list[Tensor]) -> list[Tensor]:
    """Return what is read and the three gradients of a fixed weighting of it."""
    packed = [tensor.clone().requires_grad_() for tensor in inputs]
    segments = case.segments(inputs[0].device)
    read = varlen_attention(*packed, segments, flash, scale=SCALE)
    return [read.detach(), *gradients(read, packed)]


def truth(case: Case, inputs: list[Tensor]) -> list[Tensor]:
    """Return the same in float64: one dense softmax per head, keys copied per head, autograd."""
    packed = [tensor.double().requires_grad_() for tensor in inputs]
    query, key, value = packed
    per_key = case.heads // case.key_heads
    key, value = (tensor.repeat_interleave(per_key, dim=1) for tensor in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query, key) * SCALE
    weights = scores.masked_fill(~case.visible().to(scores.device), -torch.inf).softmax(dim=2)
    read = torch.einsum("hqk,khd->qhd", weights, value)
    return [read.detach(), *gradients(read, packed)]


def gradients(read: Tensor, packed: list[Tensor]) -> tuple[Tensor, ...]:
    """Return those of a fixed weighting of what is read."""
    weights = torch.randn(read.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((read * weights.to(read)).sum(), packed)


def relative(found: Tensor, expected: Tensor) -> float:
    """Return the relative L2 distance."""
    return ((found.double() - expected).norm() / expected.norm()).item()
