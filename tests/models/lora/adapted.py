"""What tests of adapters share: a policy with adapters that have learned, and what it computes."""

from pathlib import Path

import torch
from torch import Tensor

from models import load_policy
from models.lora.adapters import adapter_layers, matrix
from models.lora.policy import LoraPolicy
from models.lora.settings import LoraSettings
from tests.models.decode.decode_cases import random_ids, unlike_prompts

ALL = LoraSettings(rank=4, alpha=12, targets=("all-linear",))
TEXT = LoraSettings(rank=4, alpha=12, targets=("text",))
ROWS = [2, 1, 2]


def adapted(directory: Path, settings: LoraSettings = ALL, *, learned: bool = True, **given):
    """Return a policy with adapters; ``learned`` ones add about a tenth of the weights."""
    policy = LoraPolicy(load_policy(directory, **given), settings, seed=3)
    if learned:
        move(policy)
    return policy


@torch.no_grad()
def move(policy: LoraPolicy, seed: int = 5) -> None:
    """Write other numbers into the adapters, as an update does."""
    generator = torch.Generator().manual_seed(seed)
    for layer in adapter_layers(policy.model).values():
        for kind, size in (("lora_A", 0.1), ("lora_B", 0.05)):
            weight = matrix(layer, kind)
            weight.copy_(size * torch.randn(weight.shape, generator=generator))
    policy.weights_moved()


def log_p(policy) -> Tensor:
    """Return log-probs of five rows of seven tokens under three unlike prompts, (5, 7)."""
    from tests.models.hidden import completion_hidden

    ids = random_ids(sum(ROWS), 7)
    hidden = completion_hidden(policy, unlike_prompts(policy), ROWS, ids)
    logits = (hidden @ policy.output_weight.t()).float()
    return torch.log_softmax(logits, dim=-1).gather(2, ids[..., None])[..., 0]


def loss(policy) -> Tensor:
    """Return a sum of the log-probs in which none counts as another does."""
    found = log_p(policy)
    return (found * torch.linspace(-1, 1, found.numel()).view(found.shape)).sum()
