"""The supervised baseline: the same data, prompts, forward and log-prob op, another loss.

Shapes: N examples, M rows of a micro-batch (one per target), C target tokens.
"""

from collections.abc import Sequence

import torch

from grpo.clock import StepClock
from grpo.everybodys import filler_part
from grpo.fitting import TokenBudget
from grpo.likelihood import completion_logprobs
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import Part, PromptBatch, Rollout
from grpo.sampling import Completions
from grpo.settings.config import GRPOConfig
from models.policy import Policy
from process.ranks import world


def sft_step(
    policy: Policy,
    optimizer: PolicyOptimizer,
    batch: PromptBatch,
    targets: Sequence[str],
    config: GRPOConfig,
    clock: StepClock,
    budget: TokenBudget | None = None,
) -> dict[str, float]:
    """Raise the probability of N given answers; return the step's metrics.

    The loss is -mean log p over all target tokens of the batch, the end token included; the prompt
    has none.
    """
    # A target is a completion whose text was given, so cut and forward are those of GRPO.
    rollout = target_rollout(policy, batch, targets)
    num_tokens = int(rollout.completion_mask.sum())
    losses: list[float] = []

    def start_pass() -> None:
        optimizer.zero_grad()
        losses.clear()

    def add_gradient(part: Part) -> None:
        logprobs = completion_logprobs(
            policy, part, temperature=1.0, backend=config.logprob_backend
        )  # (M, C)
        # The divisor is the batch's, not the micro-batch's. A filler weighs nothing.
        loss = -logprobs.sum() / num_tokens * bool(part.rows)
        optimizer.backward(loss)
        losses.append(loss.item())

    budget = budget or TokenBudget(config)
    budget.run("update", rollout, add_gradient, start=start_pass)
    grad_norm = optimizer.step(config.max_grad_norm)
    clock.lap("update")
    return {
        "loss": sum(world().gather(sum(losses))),
        "completion_tokens": num_tokens / len(targets),
        "grad_norm": grad_norm,
        "learning_rate": optimizer.learning_rate,
    }


def target_rollout(
    policy: Policy, batch: PromptBatch, targets: Sequence[str], group_size: int = 1
) -> Rollout:
    """Return the targets in the form of a rollout with as many completions per prompt.

    A target ends as the chat template ends a turn, whatever else ends a sampled completion.

    Args:
        policy: that is trained.
        batch: N prompts.
        targets: N times ``group_size`` texts, prompt-major.
        group_size: how many answer each prompt.
    """
    end = policy.processor.turn_end_id
    ids = [[*policy.processor.encode_completion(text), end] for text in targets]
    longest = max(len(row) for row in ids)
    pad = policy.processor.pad_id
    padded = torch.tensor([row + [pad] * (longest - len(row)) for row in ids])  # (N, C)
    mask = torch.tensor(
        [[True] * len(row) + [False] * (longest - len(row)) for row in ids]
    )  # (N, C)
    # Nothing was sampled: no log-probabilities, no entropies, no row cut off.
    nothing = torch.zeros(mask.shape)  # (N, C)
    truncated = torch.zeros(len(ids), dtype=torch.bool)  # (N,)
    completions = Completions(padded, mask, nothing, nothing, truncated, list(targets))
    return Rollout(batch, completions, group_size, filler=filler_part(policy))
