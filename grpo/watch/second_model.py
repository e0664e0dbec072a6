"""Transformers' own model beside the policy: where there is room for it, and its weights."""

import torch
from torch import nn

from grpo.rollout import Rollout
from grpo.settings.device_memory import free_memory
from models.memory.plain_copy import plain_copy_bytes
from models.policy import Policy


def place_for_a_copy(policy: Policy, rollout: Rollout) -> tuple[torch.device | None, str]:
    """Return where transformers' model has room beside the policy, or None and why nowhere."""
    lengths = rollout.completion_mask.sum(dim=1).tolist()
    prompts = [prompt for prompt in rollout.batch.prompts for _ in range(rollout.group_size)]
    needed = plain_copy_bytes(
        policy.model,
        text_tokens=max(p.num_tokens + n for p, n in zip(prompts, lengths, strict=True)),
        logits=max(lengths) + 1,
        patches=max(len(prompt.pixel_values) for prompt in prompts),
    )
    parameters = sum(weight.numel() for weight in policy.model.parameters())
    kept = 4 * parameters * (2 if policy.dtype == torch.float32 else 3)  # gradients, of each way
    host, cpu = free_memory(torch.device("cpu")), torch.device("cpu")
    free = {place: free_memory(place) for place in (policy.device, cpu)}
    for place in free:
        on_host = kept + (needed if place == cpu else 0)
        if needed <= free[place] and on_host <= host:
            return place, ""
    there = " and ".join(f"{place} has {left / 1e9:.1f} GB free" for place, left in free.items())
    return None, (
        f"its model needs {needed / 1e9:.1f} GB beside the policy, and gradients {kept / 1e9:.1f}"
        f" GB on the CPU; {there}"
    )


@torch.no_grad()
def take_weights(model: nn.Module, policy: Policy) -> int:
    """Give the model the policy's weights and frozen parts; return how many it had otherwise."""
    moved, theirs = 0, dict(policy.model.named_parameters())
    other = theirs.keys() ^ dict(model.named_parameters()).keys()
    if other:
        raise ValueError(
            f"the policy and transformers' model of {policy.path} have not the same parameters"
            f" ({', '.join(sorted(other)[:3])}): the checkpoint was loaded wrongly. Please report"
            " it with the model's name; nothing was trained"
        )
    for name, weight in model.named_parameters():
        ours = theirs[name].detach().to(weight.device)
        weight.requires_grad_(theirs[name].requires_grad)
        if not torch.equal(weight, ours):
            weight.copy_(ours)
            moved += 1
    return moved
