"""Our GRPO step as the benchmarks run it, and the proof that TRL's does the same work."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import perturb, spread, without_special_tokens
from step_cases import REWARDS, Case, make_turns

from data.turns import UserTurn
from grpo.clock import StepClock
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch
from grpo.settings.config import GRPOConfig
from grpo.step import StepResult, train_step
from models import load_policy
from models.policy import Policy

TOLERANCE = 1e-4  # relative, of loss, gradient norm and advantages
WHOLE_BATCH = 1 << 20  # a token budget that no batch here reaches: one forward, as in TRL


def load_pair(checkpoint: Path, **given: Any) -> tuple[Policy, Policy]:
    """Return policy and frozen reference, neither of which samples or scores special tokens.

    Args:
        checkpoint: of both.
        given: what `load_policy` takes; checkpointing is for the policy alone.
    """
    policy = load_policy(checkpoint, **given)
    reference = load_policy(checkpoint, **(given | {"gradient_checkpointing": False}))
    reference.requires_grad_(False)
    for model in (policy, reference):
        model.processor = without_special_tokens(model.processor)
    return policy, reference


class Ours:
    """Policy, reference and optimizer of this project, and the questions of every step."""

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        case: Case,
        turns: list[UserTurn],
        *,
        micro_batch_tokens: int = WHOLE_BATCH,
        optimized: bool = True,
    ) -> None:
        self.policy, self.reference, self.case, self.turns = policy, reference, case, turns
        self.config = GRPOConfig(
            prompts_per_step=case.prompts,
            group_size=case.group,
            max_completion_tokens=case.new_tokens,
            micro_batch_tokens=micro_batch_tokens,
            beta=case.beta,
            learning_rate=case.learning_rate,
            lr_schedule="constant",
            rewards=("accuracy", "format"),  # names only: the functions are handed to train_step
        )
        self.optimizer = None
        if optimized:
            self.optimizer = PolicyOptimizer(policy, self.config, total_steps=len(turns))

    @classmethod
    def perturbed(cls, checkpoint: Path, case: Case, turns: list[UserTurn], **given: Any) -> "Ours":
        """Return one whose policy has moved away from the reference, so that the KL is not zero."""
        policy, reference = load_pair(checkpoint, **given)
        perturb(policy.model)
        return cls(policy, reference, case, turns)

    def batch(self, index: int) -> PromptBatch:
        """Return the encoded prompts of a step."""
        places = range(index * self.case.prompts, (index + 1) * self.case.prompts)
        encode = self.policy.processor.encode
        prompts = tuple(encode(self.turns[i].text, self.turns[i].images) for i in places)
        return PromptBatch(prompts, (None,) * len(prompts), tuple(places), index)

    def step(self, index: int) -> tuple[StepResult, dict[str, float]]:
        """Return what the step did and its seconds by part."""
        clock = StepClock(self.policy.device)
        batch = self.batch(index)
        clock.lap("data")
        self.optimizer.start_step(index)
        result = train_step(
            self.policy, self.reference, self.optimizer, batch, REWARDS, self.config, clock
        )
        return result, clock.metrics()


def steps_of_ours(checkpoint: Path, case: Case, steps: int) -> Callable[[int], dict[str, float]]:
    """Return a function that takes a step and returns its seconds by part; for `Elsewhere`."""
    ours = Ours.perturbed(checkpoint, case, make_turns(case, checkpoint, steps))
    return lambda index: ours.step(index)[1]


def spreads(times: list[dict[str, float]]) -> dict[str, Any]:
    """Return the spread of every part of a step over the steps."""
    return {part.removeprefix("time/"): spread([step[part] for step in times]) for part in times[0]}


def prove(ours: Ours, peer: Any, banned: tuple[int, ...]) -> dict[str, Any]:
    """Return both sides' numbers on the completions of our first step, and whether they agree."""
    result, _ = ours.step(0)
    completions = result.rollout.completions
    assert bool(completions.mask.all()), "a completion ended early: lengths would differ"
    theirs = peer.loss_on(completions.ids, ours.case.group, banned)
    mine = {"loss": result.metrics["loss"], "grad_norm": result.metrics["grad_norm"]}
    advantages = result.advantages.flatten().float()
    differences = {name: abs(mine[name] / theirs[name] - 1) for name in mine}
    gap = (advantages - theirs["advantages"]).abs().max() / advantages.abs().max()
    differences["advantages"] = gap.item()
    lengths = [prompt.num_tokens for prompt in result.rollout.batch.prompts]
    return {
        "ours": mine,
        "trl": {name: theirs[name] for name in mine},
        "kl": result.metrics["kl"],
        "relative_difference": differences,
        "prompt_tokens": lengths,
        "equal": theirs["prompt_tokens"] == lengths
        and all(math.isfinite(d) and d <= TOLERANCE for d in differences.values()),
    }
