"""What a method does with the next prompts: GRPO's step, the exact one, or the baseline's.

The trainer calls each of them in the same way. What this package does not import, it is handed:
reward functions, the parser that they read with, a question's answers, the baseline's targets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from grpo.clock import StepClock
from grpo.curriculum import StepObserver, told_of_step
from grpo.exact import exact_step
from grpo.fitting import TokenBudget
from grpo.grounding import Grounding
from grpo.optimizer import PolicyOptimizer, beta_at
from grpo.rollout import PromptBatch
from grpo.settings.config import GRPOConfig
from grpo.sft import sft_step
from grpo.step import Reward, StepResult, train_step
from models.policy import Policy


@dataclass(frozen=True)
class TakenStep:
    """What a method hands back to the trainer."""

    metrics: dict[str, Any]
    samples: int  # completions (those thrown away as well), listed answers, or supervised targets
    sampled: "SampledStep | None" = None  # of a method that samples
    tokens: int | None = None  # of all samples; None: as many each as metrics have it

    def about(self, batch: PromptBatch) -> PromptBatch:
        """Return the questions that the step ended with, of the ones that it began with."""
        return batch if self.sampled is None else self.sampled.result.rollout.batch


@dataclass(frozen=True)
class SampledStep:
    """What else the trainer writes down, or looks at, where completions were sampled."""

    result: StepResult
    reward_names: tuple[str, ...]
    parsed: tuple[Any, ...]  # `rewards.ParsedCompletion` of each completion, prompt-major
    parse: "Parser"  # that read them

    @property
    def choices(self) -> tuple[str | None, ...]:
        """What each completion commits to."""
        return tuple(item.choice for item in self.parsed)

    @property
    def well_formed(self) -> float:
        """The share of completions that keep to their mode's form."""
        return sum(item.well_formed for item in self.parsed) / len(self.parsed)


TakeStep = Callable[[PromptBatch, StepClock], TakenStep]


class Parser(Protocol):
    """As `rewards.parse_once.ParseOnce`: what it has read, it knows until it is to forget."""

    def __call__(
        self, text: str, mode: str, options: Sequence[str] = (), form: str = "letter"
    ) -> Any: ...

    def forget(self) -> None: ...


class Follower(Protocol):
    """As `grpo.run.reference_sync.ReferenceSync`: makes the reference follow the policy."""

    def start_step(self, step: int) -> None: ...

    def age(self, step: int) -> int: ...


def method_of(
    config: GRPOConfig,
    policy: Policy,
    reference: Policy | None,
    optimizer: PolicyOptimizer,
    reward_fns: Mapping[str, Reward],
    parse: Parser,
    budget: TokenBudget,
    *,
    total_steps: int,
    grounding: Grounding | None,
    target: Callable[[Any], str],
    answers: Callable[[Any], Sequence[str]],
    sync: Follower | None,
    curriculum: StepObserver | None,
) -> TakeStep:
    """Return the step of the run's method: each is made of some of these parts, as below."""
    if config.kind == "sft":
        return sft_method(config, policy, optimizer, target, budget)
    shared = (config, policy, reference, optimizer, reward_fns, parse)
    if config.kind == "exact":
        return exact_method(*shared, answers, budget, total_steps=total_steps)
    return grpo_method(
        *(*shared, grounding, budget), total_steps=total_steps, sync=sync, curriculum=curriculum
    )


def grpo_method(
    config: GRPOConfig,
    policy: Policy,
    reference: Policy | None,
    optimizer: PolicyOptimizer,
    reward_fns: Mapping[str, Reward],
    parse: Parser,
    grounding: Grounding | None,
    budget: TokenBudget | None = None,
    *,
    total_steps: int,
    sync: Follower | None = None,
    curriculum: StepObserver | None = None,
) -> TakeStep:
    """Return GRPO's step on the next prompts.

    Args:
        config, policy, reference, optimizer, reward_fns, grounding, budget: as `train_step` has it.
        parse: what reads completions, for rewards and the log alike.
        total_steps: of the whole run.
        sync: what makes the reference follow the policy, if anything does.
        curriculum: is told what came of each step, if there is one.
    """
    names, weights = tuple(reward_fns), config.weights_of_rewards

    def take_step(batch: PromptBatch, clock: StepClock) -> TakenStep:
        parse.forget()  # what the last step read
        if sync is not None:
            sync.start_step(batch.step)
        beta = beta_at(batch.step, total_steps, config)
        result = train_step(
            *(policy, reference, optimizer, batch, reward_fns, config, clock, grounding, budget),
            replace(config.objective, beta=beta),
        )
        groups = result.rollout.for_each(
            lambda text, example: parse(text, config.mode, example.options, example.form)
        )
        parsed = tuple(item for group in groups for item in group)
        sampled = SampledStep(result, names, parsed, parse)
        metrics = {**result.metrics, "well_formed": sampled.well_formed}
        if config.beta_schedule != "constant":
            metrics["beta"] = beta
        if sync is not None:
            metrics["reference_age"] = sync.age(batch.step)
        if curriculum is not None:
            metrics |= told_of_step(curriculum, batch, result.rewards_per_fn, names, weights)
        kept, thrown = result.rollout.completion_mask, result.draws
        return TakenStep(
            metrics,
            samples=len(parsed) + thrown.num_completions,
            sampled=sampled,
            tokens=int(kept.sum()) + thrown.num_tokens,
        )

    return take_step


def exact_method(
    config: GRPOConfig,
    policy: Policy,
    reference: Policy | None,
    optimizer: PolicyOptimizer,
    reward_fns: Mapping[str, Reward],
    parse: Parser,
    answers: Callable[[Any], Sequence[str]],
    budget: TokenBudget | None = None,
    *,
    total_steps: int,
) -> TakeStep:
    """Return --exact-no-think's step; ``answers`` are an example's well-formed completions."""

    def take_step(batch: PromptBatch, clock: StepClock) -> TakenStep:
        parse.forget()  # what the last step read
        listed = [answers(example) for example in batch.examples]
        beta = beta_at(batch.step, total_steps, config)
        metrics = exact_step(
            *(policy, reference, optimizer, batch, listed, reward_fns, config, clock, budget),
            beta=beta,
        )
        if config.beta_schedule != "constant":
            metrics["beta"] = beta
        return TakenStep(metrics, samples=sum(map(len, listed)))

    return take_step


def sft_method(
    config: GRPOConfig,
    policy: Policy,
    optimizer: PolicyOptimizer,
    target: Callable[[Any], str],
    budget: TokenBudget | None = None,
) -> TakeStep:
    """Return the supervised baseline's step; ``target`` is what it teaches for an example."""

    def take_step(batch: PromptBatch, clock: StepClock) -> TakenStep:
        targets = [target(example) for example in batch.examples]
        metrics = sft_step(policy, optimizer, batch, targets, config, clock, budget)
        return TakenStep(metrics, samples=len(targets))

    return take_step
