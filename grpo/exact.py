"""The step of --exact-no-think: no completion is sampled, every well-formed answer is listed.

In the mode no_think a choice has as many answers as options, ``<answer>B</answer>`` and the end
token. Each is one row, with its probability and its reward, and the gradient of the expected reward
is a sum over them (grpo/objectives/enumerated.py): GRPO's without its noise, to compare with.

An answer is listed in one spelling: its text as the tokenizer writes it, ended as the chat template
ends a turn. All other completions are counted as malformed: each earns what the reward functions
give the empty text, and ``exact/mass_outside`` says how probable they are together. Among them are
well-formed ones in other words, such as ``<answer>(b)</answer>``, or written in other tokens. They
earn more when they are sampled, so where that mass is large the expected reward here is not the
sampler's. And where hardly an answer is listed that the policy would write, the gradient is as
small as its probability: a model that does not know the form has to learn it first, such as by SFT.

Shapes: N prompts, A answers of the one that has most, B = N * A rows (prompt-major), M rows of a
micro-batch, C completion tokens, R reward functions.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from grpo.clock import StepClock
from grpo.fitting import TokenBudget
from grpo.likelihood import completion_logprobs, frozen_logprobs
from grpo.objectives.enumerated import answer_entropy, event_kl, expected_reward, worths
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import Part, PromptBatch, Rollout
from grpo.settings.config import GRPOConfig
from grpo.sft import target_rollout
from grpo.step import Reward
from models.policy import Policy
from process.ranks import world

MALFORMED = ""  # the text whose rewards every completion earns that is not listed


def exact_step(
    policy: Policy,
    reference: Policy | None,
    optimizer: PolicyOptimizer,
    batch: PromptBatch,
    answers: Sequence[Sequence[str]],
    reward_fns: Mapping[str, Reward],
    config: GRPOConfig,
    clock: StepClock,
    budget: TokenBudget | None = None,
    beta: float | None = None,
) -> dict[str, float | None]:
    """Raise the expected reward of N prompts by its exact gradient; return the step's metrics.

    Args:
        policy: that is trained.
        reference: of the KL; None where no step of the run has one.
        optimizer: of the policy.
        batch: N prompts.
        answers: N lists of well-formed completions, without their end token.
        reward_fns: R of them.
        config: of the run.
        clock: of the step.
        budget: of a micro-batch; default: the config's.
        beta: weight of this step's KL; default: the config's.

    Raises:
        ValueError: an answer is longer than a sampled completion may be.
    """
    # 1. List every answer of each prompt.
    budget = budget or TokenBudget(config)
    beta = config.beta if beta is None else beta
    rollout, listed = _listed(policy, batch, answers, config.max_completion_tokens)  # (N, A)

    # 2. Score them, and the malformed text once per prompt; of several processes each its own.
    with world().together("reward"):
        rewards_per_fn, others_per_fn = _scored(reward_fns, batch, answers, listed.shape[1])
    weights = rewards_per_fn.new_tensor(config.weights_of_rewards)  # (R,)
    rewards, other = rewards_per_fn @ weights, others_per_fn @ weights  # (N, A), (N,)
    clock.lap("reward")

    # 3. Measure what each answer's probability is worth. With a KL that depends on the
    #    probabilities of all, so they are measured before: the answers of a prompt may lie in
    #    different micro-batches.
    now = reference_now = torch.zeros(listed.shape, dtype=torch.float64)  # (N, A)
    if reference is not None:
        of_tokens = frozen_logprobs(reference, rollout, config, budget, "reference")  # (B, C)
        reference_now = _of_answers(of_tokens.sum(dim=1), listed)
    clock.lap("reference")
    if beta:
        of_tokens = frozen_logprobs(policy, rollout, config, budget, "update")  # (B, C)
        now = _of_answers(of_tokens.sum(dim=1), listed)
    worth = worths(now, listed, rewards, other, ref_logprobs=reference_now, beta=beta)
    row_worths = worth.flatten().float().to(policy.device)  # (B,)

    # 4. Update by the gradient of sum w(c) p(c), a mean over all N prompts.
    logprobs = torch.zeros(listed.numel(), device=policy.device)  # (B,)

    def add_gradient(part: Part) -> None:
        of_tokens = completion_logprobs(
            policy, part, config.temperature, backend=config.logprob_backend
        )  # (M, C)
        of_answers = of_tokens.sum(dim=1)  # (M,)
        if part.rows:
            logprobs[list(part.rows)] = of_answers.detach()
        optimizer.backward(-(part.cut(row_worths) * of_answers.exp()).sum() / len(answers))

    budget.run("update", rollout, add_gradient, start=optimizer.zero_grad)
    grad_norm = optimizer.step(config.max_grad_norm)
    clock.lap("update")

    names = ["reward", *(f"reward/{name}" for name in reward_fns)]
    earned = [rewards, *rewards_per_fn.unbind(dim=2)]  # (N, A) each
    earned_else = [other, *others_per_fn.unbind(dim=1)]  # (N,) each
    now = _of_answers(logprobs, listed)  # (N, A)
    own = {
        name: expected_reward(now, listed, of_listed, of_others)
        for name, of_listed, of_others in zip(names, earned, earned_else, strict=True)
    }
    own["exact/mass_outside"] = 1 - now.exp().where(listed, 0.0).sum(dim=1)
    own["exact/answer_entropy"] = answer_entropy(now, listed)
    own["kl"] = event_kl(now, reference_now, listed)
    means, num_tokens = _means(own, batch), rollout.completion_mask[listed.flatten()].sum()
    return {
        **means,
        "loss": beta * means["kl"] - means["reward"],
        "kl": None if reference is None else means["kl"],
        "completion_tokens": (num_tokens / listed.sum()).item(),
        "grad_norm": grad_norm,
        "learning_rate": optimizer.learning_rate,
    }


def _listed(
    policy: Policy, batch: PromptBatch, answers: Sequence[Sequence[str]], limit: int
) -> tuple[Rollout, Tensor]:
    """Return every answer as a row of its prompt, and (N, A) bool, which rows are answers.

    Prompts with fewer of them get rows of the end token alone, which weigh nothing, so that all
    groups are of one size.

    Raises:
        ValueError: an answer is longer than the limit of a sampled completion.
    """
    size = max(map(len, answers))  # A
    texts = [text for some in answers for text in (*some, *[MALFORMED] * (size - len(some)))]
    rollout = target_rollout(policy, batch, texts, size)
    check_answer_length(int(rollout.completion_mask.sum(dim=1).max()), limit)
    return rollout, torch.tensor([[i < len(some) for i in range(size)] for some in answers])


def _scored(
    reward_fns: Mapping[str, Reward],
    batch: PromptBatch,
    answers: Sequence[Sequence[str]],
    size: int,
) -> tuple[Tensor, Tensor]:
    """Return (N, A, R) and (N, R) float64: what the answers earn, and what all else does.

    Zeros where nothing is listed, and for the prompts of other processes.
    """
    pairs = [
        (text, batch.examples[index])
        for index in batch.own
        for text in (*answers[index], MALFORMED)
    ]
    texts, examples = [text for text, _ in pairs], [example for _, example in pairs]
    scores = [fn(texts, examples) for fn in reward_fns.values()]  # R lists
    of_each = torch.tensor(scores, dtype=torch.float64).view(len(scores), len(texts)).T
    rewards = torch.zeros(len(answers), size, len(scores), dtype=torch.float64)  # (N, A, R)
    others = torch.zeros(len(answers), len(scores), dtype=torch.float64)  # (N, R)
    start = 0
    for index in batch.own:
        end = start + len(answers[index])
        rewards[index, : end - start], others[index] = of_each[start:end], of_each[end]
        start = end + 1
    return rewards, others


def _means(own: Mapping[str, Tensor], batch: PromptBatch) -> dict[str, float]:
    """Return the means over the N prompts, each of which its own process has measured."""
    found = world().gather(
        {name: values[batch.own.start : batch.own.stop].tolist() for name, values in own.items()}
    )
    return {
        name: sum(value for one in found for value in one[name]) / len(batch.examples)
        for name in own
    }


def _of_answers(logprobs: Tensor, listed: Tensor) -> Tensor:
    """Return (B,) on a device as (N, A) float64 on the CPU."""
    return logprobs.double().cpu().view(listed.shape)


def check_answer_length(longest: int, limit: int) -> None:
    """Raise ValueError where the longest answer has more tokens than a completion may have."""
    if longest > limit:
        raise ValueError(
            f"max_completion_tokens={limit} cuts off an answer of {longest} tokens, its end"
            f" included, so no completion could be well formed: raise it to {longest} or more"
        )
