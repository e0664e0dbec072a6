"""What all processes have sampled and scored, in the order in which one process would have.

Where several processes train one model, each samples and scores its own groups, which are
neighbours in the step's order (`process.ranks.Place.share`), and a token's random number knows
nothing of processes (grpo/uniforms.py). So what they have, laid one after the other, is what one
process would have sampled, and whatever is made of the whole step afterwards (advantages, loss
weights, metrics, the rollout file) is made of it by the same code, in every process.

Shapes: N prompts of the step, G completions each, B = N * G rows, C completion tokens, R reward
functions; of one process fewer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from grpo.grounding import GroundingTerm
from grpo.rollout import Part, PromptBatch, Rollout
from grpo.sampling import Completions
from models.policy import Policy
from models.sharding.filler import filler_prompt
from process.ranks import world

Scored = tuple[Rollout, Tensor, GroundingTerm]  # a rollout, its (N, G, R) rewards, the term


def everybodys(policy: Policy, batch: PromptBatch, own: Scored) -> Scored:
    """Return what all processes have sampled and scored: this process's own where it is alone.

    Args:
        policy: that is trained.
        batch: the step's N examples, of which this process has some prompts.
        own: of these prompts.
    """
    if world().size == 1:
        return own
    rollout, rewards, term = own
    made = rollout.completions
    tensors = {
        "ids": made.ids,
        "mask": made.mask,
        "logprobs": made.logprobs,
        "entropies": made.entropies,
        "truncated": made.truncated,
        "rewards": rewards,
        "penalties": term.penalties,
        "scales": term.scales,
    }
    if made.kept is not None:
        tensors["kept"] = made.kept
    found = world().gather_tensors(tensors)
    told = world().gather([made.texts, dict(term.measured)])
    whole = {name: _stacked([part[name] for part in found]) for name in tensors}
    completions = Completions(
        ids=whole["ids"].where(whole["mask"], policy.processor.pad_id),  # also behind shorter ones
        texts=[text for texts, _ in told for text in texts],
        **{name: whole[name] for name in ("mask", "logprobs", "entropies", "truncated")},
        kept=whole.get("kept"),
    )
    names = dict.fromkeys(name for _, one in told for name in one)  # one without prompts has none
    measured = {name: [p for _, one in told for p in one.get(name, ())] for name in names}
    return (
        Rollout(batch, completions, rollout.group_size, filler_part(policy)),
        whole["rewards"],
        GroundingTerm(whole["penalties"], whole["scales"], measured),
    )


def filler_part(policy: Policy) -> Part | None:
    """Return a micro-batch that costs a token and weighs nothing; None of one process alone."""
    if world().size == 1:
        return None
    return Part(
        rows=(),
        prompts=(filler_prompt(policy),),
        rows_per_prompt=(1,),
        completion_ids=torch.tensor([[policy.processor.turn_end_id]]),
        completion_mask=torch.ones(1, 1, dtype=torch.bool),
    )


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """Return the processes' tensors as one, zeros after the rows of those with shorter ones."""
    if parts[0].dim() < 2:
        return torch.cat(list(parts))
    longest = max(part.shape[1] for part in parts)
    return torch.cat([lengthened(part, longest) for part in parts])


def lengthened(part: Tensor, length: int) -> Tensor:
    """Return a tensor whose second dimension is as long, zeros behind what it had."""
    more = length - part.shape[1]
    return pad(part, (0, 0) * (part.dim() - 2) + (0, more)) if more else part
