"""One GRPO step. Read this file first: the whole algorithm is here or one call away.

    sample -> score -> advantages -> log-probabilities -> loss -> update

Shapes: N prompts (groups), G completions each, B = N * G rows (prompt-major: rows 0..G-1 answer
prompt 0), M rows per micro-batch, C completion tokens, R reward functions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grpo.advantages import group_advantages
from grpo.clock import StepClock
from grpo.grounding import Grounding
from grpo.likelihood import completion_logprobs, frozen_logprobs
from grpo.loss import policy_loss, token_weights
from grpo.metrics import UpdateSums, rollout_metrics
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import (
    PromptBatch,
    Rollout,
    micro_batches,
    run_prompts_once,
    sample_rollout,
)
from grpo.settings.config import GRPOConfig
from models.policy import Policy

RewardFn = Callable[[str, Any], float]  # (completion, its example) -> reward; the mode is bound


@dataclass(frozen=True)
class StepResult:
    """What one step did: scalars for the log, and all that was sampled for the rollout file."""

    metrics: dict[str, float | None]
    rollout: Rollout
    rewards_per_fn: Tensor  # (N, G, R)
    rewards: Tensor  # (N, G), weighted sums, before a grounding term
    advantages: Tensor  # (N, G)


def train_step(
    policy: Policy,
    reference: Policy | None,
    optimizer: PolicyOptimizer,
    batch: PromptBatch,
    reward_fns: Mapping[str, RewardFn],
    config: GRPOConfig,
    clock: StepClock,
    grounding: Grounding | None = None,
) -> StepResult:
    """Improve the policy on N prompts; the metrics of the loss are those of the last pass.

    Source: DeepSeekMath, arXiv:2402.03300, Algorithm 1 (its inner loop, run once). The reference is
    None when beta is 0.
    """
    # 1. Sample G completions per prompt from the policy as it is now. A group shares its image and
    #    prompt: both are run once, here and in every pass below. Where memory allows, the update's
    #    first pass goes on from the same run of the prompts, since no weight moves in between.
    prompt_pass = run_prompts_once(policy, batch, config)
    rollout = sample_rollout(
        policy, batch, config.sampling, prompt_pass, backend=config.logprob_backend
    )
    clock.lap("rollout")

    # 2. Score text against the answer key; rewards never see tensors.
    rewards_per_fn = score_completions(reward_fns, rollout)  # (N, G, R)
    weights = torch.tensor(config.weights_of_rewards, dtype=torch.float64)  # (R,)
    rewards = rewards_per_fn @ weights  # (N, G)

    # 3. Compare siblings. A group whose rewards agree gets zeros and teaches nothing. With a
    #    grounding term, right letters that need no image earn less, or teach less.
    term = None if grounding is None else grounding(policy, rollout)
    compared = rewards if term is None else rewards - term.penalties  # (N, G)
    advantages = group_advantages(compared, scale=config.advantage_scale)  # (N, G)
    if term is not None:
        advantages = (advantages * term.scales).float()
    row_advantages = advantages.flatten().to(policy.device)  # (B,)
    clock.lap("reward")

    # 4. The log-probabilities the update is measured against, taken before any weight moves. With
    #    one pass over the batch, the policy's own are the old ones: no extra forward.
    old_logprobs = ref_logprobs = None
    if reference is not None:
        ref_logprobs = frozen_logprobs(reference, rollout, config).to(policy.device)  # (B, C)
    clock.lap("reference")
    if config.num_iterations > 1:
        old_logprobs = frozen_logprobs(policy, rollout, config)  # (B, C)

    # 5. Weights are set once for all B rows, so micro-batch losses add up to the batch's mean
    #    loss: the token budget changes the memory used, never the gradient.
    mask = rollout.completion_mask.to(policy.device)  # (B, C)
    limit = config.max_completion_tokens
    loss_mask = mask
    if config.mask_truncated:  # such rows weigh 0, but still count in every denominator of rows
        loss_mask = mask & ~rollout.completions.truncated.to(policy.device)[:, None]
    loss_weights = token_weights(loss_mask, config.loss_normalization, limit)  # (B, C)
    metric_weights = token_weights(mask, "token", limit)  # (B, C), metrics are means over tokens
    sampled_logprobs = rollout.completions.logprobs.to(policy.device)  # (B, C)

    # 6. Update. On the first pass every ratio is 1, so the loss is about zero while its gradient
    #    is not: watch the reward and grad_norm, not the loss. Without a KL, a group whose rewards
    #    agree has no gradient at all and is not run.
    taught = None if config.beta > 0 else advantages.any(dim=1).nonzero()[:, 0].tolist()
    sums = UpdateSums()
    for _ in range(config.num_iterations):
        sums.start_pass()
        optimizer.zero_grad()
        for rows in micro_batches(rollout, config.micro_batch_tokens, taught):
            part = rollout.select(rows)
            cut = (rows, slice(part.completion_ids.shape[1]))  # (M, C) of this micro-batch
            logprobs = completion_logprobs(
                policy,
                part,
                config.temperature,
                backend=config.logprob_backend,
                prompt_pass=prompt_pass,
            )  # (M, C)
            prompt_pass = None  # one backward frees it
            now = logprobs.detach()
            loss, loss_metrics = policy_loss(
                logprobs,
                now if old_logprobs is None else old_logprobs[cut],
                now if ref_logprobs is None else ref_logprobs[cut],
                row_advantages[rows],
                loss_weights[cut],
                metric_weights[cut],
                epsilon_low=config.epsilon_low,
                epsilon_high=config.epsilon_high,
                beta=config.beta,
            )
            loss.backward()
            gap = (now - sampled_logprobs[cut]).abs() * mask[cut]
            sums.add(loss_metrics, gap, int(part.completion_mask.sum()))
        grad_norm = optimizer.step(config.max_grad_norm)
    clock.lap("update")

    metrics = {
        **rollout_metrics(rollout, list(reward_fns), rewards_per_fn, rewards, advantages),
        **({} if term is None else term.metrics),
        **sums.means(with_kl=reference is not None),
        "grad_norm": grad_norm,
        "learning_rate": optimizer.learning_rate,
    }
    return StepResult(metrics, rollout, rewards_per_fn, rewards, advantages)


def score_completions(reward_fns: Mapping[str, RewardFn], rollout: Rollout) -> Tensor:
    """Return (N, G, R) float64: every completion of every group under every reward function."""
    scores = [
        [[fn(text, example) for fn in reward_fns.values()] for text in texts]
        for texts, example in zip(rollout.texts, rollout.batch.examples, strict=True)
    ]
    return torch.tensor(scores, dtype=torch.float64)
