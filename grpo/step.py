"""One GRPO step. Read this file first: the whole algorithm is here or one call away.

    1. sample    G completions of each prompt                    rollout.py, sampling.py
    2. score     each completion's text -> rewards               rewards/, handed in; grounding.py
    3. compare   the rewards of each group -> advantages         advantages.py, dynamic_sampling.py
    4. measure   log-probabilities of reference and old policy   likelihood.py, logprobs/
    5. weigh     each token, so that sums are the batch's means  loss_tables.py, loss.py
    6. update    loss, backward, AdamW                           loss.py, objectives/, optimizer/

docs/grpo.md has the formulas and one worked example, docs/objectives.md every variant and where it
stands, docs/prefix.md how a group shares its prompt.

Shapes: N prompts (groups), G completions each, B = N * G rows (prompt-major: rows 0..G-1 answer
prompt 0), M rows of a micro-batch (`Part`), C completion tokens, R reward functions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from grpo.advantages import step_advantages
from grpo.clock import StepClock
from grpo.dynamic_sampling import Draws
from grpo.everybodys import Scored, everybodys
from grpo.fitting import TokenBudget
from grpo.grounding import Grounding, GroundingTerm, no_grounding
from grpo.likelihood import completion_scores, frozen_logprobs
from grpo.loss import policy_loss
from grpo.loss_tables import LossTables
from grpo.metrics import UpdateSums, rollout_metrics
from grpo.optimizer import PolicyOptimizer
from grpo.overlong import overlong_metrics, overlong_penalties
from grpo.rollout import Part, PromptBatch, Rollout, run_prompts_once, sample_rollout
from grpo.settings.config import GRPOConfig
from grpo.settings.records import Objective
from models.policy import Policy, PromptPass
from process.ranks import world

# (completions, the example of each) -> the reward of each; the mode is bound
Reward = Callable[[Sequence[str], Sequence[Any]], Sequence[float]]


@dataclass(frozen=True)
class StepResult:
    """What one step did: numbers for the log, and all that was sampled for the rollout file."""

    metrics: dict[str, float | None]
    rollout: Rollout
    rewards_per_fn: Tensor  # (N, G, R)
    rewards: Tensor  # (N, G), weighted sums, before a grounding term
    advantages: Tensor  # (N, G)
    draws: Draws = field(default_factory=Draws)  # how often again, and what was thrown away


def train_step(
    policy: Policy,
    reference: Policy | None,
    optimizer: PolicyOptimizer,
    batch: PromptBatch,
    reward_fns: Mapping[str, Reward],
    config: GRPOConfig,
    clock: StepClock,
    grounding: Grounding | None = None,
    budget: TokenBudget | None = None,
    objective: Objective | None = None,
) -> StepResult:
    """Return what was sampled, scored and measured; the policy has been updated on N prompts.

    Source: DeepSeekMath, arXiv:2402.03300, Algorithm 1, its inner loop run once. The reference is
    None where no step of the run has a KL; the objective is this step's, by default the config's.
    The metrics of the loss are those of the last pass over the completions.
    """
    # 1. Sample G completions per prompt from the policy as it is now. A group shares its prompt and
    #    image: they are run once for it, here and in every forward below. Where memory allows, the
    #    first forward of the update goes on from this same run: no weight moves in between.
    budget = budget or TokenBudget(config)  # of a micro-batch: less where memory runs out
    sampler = policy.sampler()  # the policy itself, or a copy of it that can decode
    with world().together("rollout"):  # of several processes each has its own groups
        prompt_pass = run_prompts_once(policy, batch, config, budget.tokens)

    def sampled(batch: PromptBatch, prompt_pass: PromptPass | None = None) -> Scored:
        with world().together("rollout"):
            rollout = sample_rollout(
                sampler, batch.of_own(), config.sampling, prompt_pass, config.logprob_backend
            )
            clock.lap("rollout")

            # 2. Score the text of each completion against its example; rewards never see tensors.
            rewards_per_fn = score_completions(reward_fns, rollout)  # (N, G, R)
            term = (grounding or no_grounding)(sampler, rollout)
        return everybodys(policy, batch, (rollout, rewards_per_fn, term))

    # 3. Compare within each group: a completion's advantage is how far its reward lies above the
    #    group's mean, so a group whose rewards agree has advantages of 0. Dynamic sampling, where
    #    it is on, puts groups of the next questions in the place of these.
    scored, draws = sampled(batch, prompt_pass), Draws.of(config, policy)
    advantages = advantages_of(*scored, config)  # (N, G)
    while places := draws.places_to_fill(advantages):
        prompt_pass = None  # of prompts some of which are thrown away: its memory is needed
        scored = draws.filled(scored, places, sampled, clock)
        advantages = advantages_of(*scored, config)
    rollout, rewards_per_fn, term = scored
    policy.rollout_is_over()  # a copy that decodes may have to make room
    clock.lap("reward")

    # 4. Measure, before any weight moves, the log-probabilities, (B, C), that the loss compares the
    #    policy's with: the reference's for the KL, the old policy's for the ratio. With one pass
    #    over the completions the old ones are the update's own, detached, and cost nothing.
    ref_logprobs = old_logprobs = None
    if reference is not None:
        ref_logprobs = frozen_logprobs(reference, rollout, config, budget, "reference")
    clock.lap("reference")
    if config.num_iterations > 1:
        old_logprobs = frozen_logprobs(policy, rollout, config, budget, "update")

    # 5. Weigh every token once for all B rows: the losses of micro-batches then add up to the mean
    #    loss of the batch, so the token budget changes the memory used, never the gradient.
    tables = LossTables.of(rollout, advantages, old_logprobs, ref_logprobs, config, policy.device)

    # 6. Update. On the first pass every ratio is 1, so a clipped loss is about zero while its
    #    gradient is not: watch the reward and grad_norm, not the loss.
    objective = objective or config.objective
    all_teach = reference is not None or objective.entropy_bonus != 0
    groups = None if all_teach else groups_that_teach(rollout, advantages)
    sums = UpdateSums(rollout, policy.device)

    def start_pass() -> None:
        optimizer.zero_grad()
        sums.start_pass()

    def add_gradient(part: Part) -> None:
        nonlocal prompt_pass
        used, prompt_pass = prompt_pass, None  # its graph is freed by one backward
        logprobs, entropies = completion_scores(
            *(policy, part, config.temperature, used, config.logprob_backend),
            with_entropy=objective.entropy_bonus != 0,
        )  # (M, C) each
        measured, factor_metrics = tables.cut(part, logprobs.detach())
        loss, loss_metrics = policy_loss(
            logprobs, **measured, entropies=entropies, **asdict(objective)
        )
        optimizer.backward(loss)
        sums.add(part, logprobs, loss_metrics | factor_metrics)

    for _ in range(config.num_iterations):
        budget.run("update", rollout, add_gradient, groups=groups, start=start_pass)
        grad_norm = optimizer.step(config.max_grad_norm)
        sums.end_pass()
    clock.lap("update")

    rewards = rewards_per_fn @ rewards_per_fn.new_tensor(config.weights_of_rewards)  # (N, G)
    metrics = {
        **rollout_metrics(rollout, list(reward_fns), rewards_per_fn, rewards, advantages),
        **overlong_metrics(rollout.completion_mask.sum(dim=1), *config.soft_limit),
        **term.metrics,
        **draws.metrics(advantages, rewards, config.weights_of_rewards),
        **tables.factors.unknown,  # unless the sums have it
        **sums.means(with_kl=reference is not None),
        "grad_norm": grad_norm,
        "learning_rate": optimizer.learning_rate,
    }
    return StepResult(metrics, rollout, rewards_per_fn, rewards, advantages, draws)


def advantages_of(
    rollout: Rollout, rewards_per_fn: Tensor, term: GroundingTerm, config: GRPOConfig
) -> Tensor:
    """Return (N, G) float32: how far each completion lies above its group, see `step_advantages`.

    A grounding term takes from the reward of a letter, or scales the advantages of a question, that
    is likely without the image; without one it subtracts 0 and multiplies by 1.
    """
    lengths = rollout.completion_mask.sum(dim=1).view(rewards_per_fn.shape[:2])  # (N, G)
    too_long = overlong_penalties(lengths, *config.soft_limit)  # (N, G)
    penalties, weights = term.penalties + too_long, config.weights_of_rewards  # R of them
    advantages = step_advantages(rewards_per_fn, weights, penalties, **asdict(config.comparison))
    return (advantages * term.scales).float()


def groups_that_teach(rollout: Rollout, advantages: Tensor) -> list[int] | None:
    """Return which of N groups are run where only advantages, (N, G), teach; None: all are.

    A group whose rewards agree has no gradient, nor a KL to be logged. But where the sampler met
    NaN all are run, so that the update is left out and counted.
    """
    if rollout.completions.not_finite.any():
        return None
    return advantages.any(dim=1).nonzero()[:, 0].tolist()


def score_completions(reward_fns: Mapping[str, Reward], rollout: Rollout) -> Tensor:
    """Return (N, G, R) float64: the reward of every completion under every reward function."""
    size, texts = rollout.group_size, rollout.completions.texts  # B, prompt-major
    examples = [example for example in rollout.batch.examples for _ in range(size)]  # B
    scores = [fn(texts, examples) for fn in reward_fns.values()]  # R lists of B
    shape = len(reward_fns), len(rollout.batch.examples), size
    return torch.tensor(scores, dtype=torch.float64).view(shape).permute(1, 2, 0).contiguous()
