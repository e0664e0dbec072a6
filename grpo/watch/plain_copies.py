"""Completions run as transformers alone would run them: what `--verify-prefix` compares with.

Every completion is a whole row of its own, with its own copy of prompt and image, no cache, no
packing and nothing of models/ but the encoded prompt.

Shapes: N prompts, G completions each, B = N * G rows, C completion tokens, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from grpo.rollout import Rollout
from models.prompts.prompt import EncodedPrompt


@dataclass(frozen=True)
class Scored:
    """What one way of running B completions gives, on the CPU."""

    logprobs: Tensor  # (B, C) float32, 0 where there is no token
    gradients: dict[str, Tensor]  # by parameter, float32


class GradientSums:
    """Gradients of several losses, added up in float32 without touching any .grad."""

    def __init__(self, model: nn.Module) -> None:
        named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._names, self._parameters = list(named), list(named.values())
        self.sums: dict[str, Tensor] = {}

    def add(self, loss: Tensor) -> None:
        """Add the gradient of one loss."""
        gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        for name, gradient in zip(self._names, gradients, strict=True):
            if gradient is not None:
                gradient = gradient.float().cpu()
                self.sums[name] = self.sums[name] + gradient if name in self.sums else gradient


def score_plain_copies(
    model: nn.Module,
    rollout: Rollout,
    weights: Tensor,
    *,
    temperature: float,
    banned_ids: Sequence[int],
    image_token_id: int,
) -> Scored:
    """Return every row's log-probabilities and the gradient of their weighted sum.

    Args:
        model: transformers' own, on any device.
        rollout: whose completions are run.
        weights: (B, C) float32, on the CPU.
        temperature: divides the logits.
        banned_ids: have probability 0.
        image_token_id: stands where the image's features go.
    """
    gradients = GradientSums(model)
    logprobs = torch.zeros_like(weights)
    for row, mask in enumerate(rollout.completion_mask):
        prompt = rollout.batch.prompts[row // rollout.group_size]
        ids = rollout.completions.ids[row][mask]
        logits = _logits(model, prompt, ids, image_token_id) / temperature  # (C, V)
        banned = torch.tensor(banned_ids, dtype=torch.int64, device=logits.device)
        logits = logits.index_fill(1, banned, -torch.inf)
        if rollout.completions.kept is not None:
            logits = _only(logits, rollout.completions.kept[row][mask].to(logits.device))
        log_p = logits.log_softmax(dim=1)
        found = log_p.gather(1, ids.to(log_p.device)[:, None])[:, 0]
        logprobs[row, : len(ids)] = found.detach().cpu()
        gradients.add((found * weights[row, : len(ids)].to(found.device)).sum())
    return Scored(logprobs, gradients.sums)


def _only(logits: Tensor, kept: Tensor) -> Tensor:
    """Return logits (C, V) that are -inf but for the kept ids, (C, K), of which -1 is none."""
    some = torch.zeros_like(logits, dtype=torch.bool)
    some = torch.nn.functional.pad(some, (0, 1))  # a column for what is none
    some = some.scatter(1, kept.long().where(kept >= 0, logits.shape[1]), value=True)
    return logits.masked_fill(~some[:, :-1], -torch.inf)


def _logits(model: nn.Module, prompt: EncodedPrompt, ids: Tensor, image_token_id: int) -> Tensor:
    """Return float32 logits (C, V) that predict a completion, from one whole unpadded row."""
    weight = next(model.parameters())
    row = torch.cat([prompt.input_ids, ids])[None]
    vision = {}
    if len(prompt.image_grid_thw):
        vision = {
            "pixel_values": prompt.pixel_values.to(weight.device, weight.dtype),
            "image_grid_thw": prompt.image_grid_thw.to(weight.device),
            "mm_token_type_ids": (row == image_token_id).int().to(weight.device),
        }
    inner: Any = model.model
    inner.rope_deltas = None  # transformers' memory of its last call
    kept = len(ids) + 1
    output = model(input_ids=row.to(weight.device), use_cache=False, logits_to_keep=kept, **vision)
    return output.logits[0, :-1].float()
