"""The outer loop around a step: data in, metrics, rollouts, evaluations and checkpoints out."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from grpo.checkpoint import save_checkpoint
from grpo.checks import FIRST_STEPS, GapAlarm, first_rollout_warnings, image_warnings
from grpo.clock import StepClock
from grpo.config import GRPOConfig
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch, Rollout
from grpo.run_directory import RunDirectory
from models.policy import Policy
from models.prompt import EncodedPrompt

Metrics = dict[str, Any]


@dataclass(frozen=True)
class TakenStep:
    """What a method hands back to the loop."""

    metrics: Metrics
    rollout_rows: list[dict[str, Any]] = field(default_factory=list)
    rollout: Rollout | None = None  # of a method that samples


@dataclass
class Trainer:
    """One run. `train` is the loop; everything it needs to know stands in these fields."""

    config: GRPOConfig
    total_steps: int
    policy: Policy
    optimizer: PolicyOptimizer
    example_at: Callable[[int], Any]  # position in the run's data order -> example
    encode: Callable[[Any], EncodedPrompt]
    take_step: Callable[[PromptBatch, StepClock], TakenStep]
    evaluate: Callable[[Policy, int], Mapping[str, Any]] | None
    run: RunDirectory
    card: Mapping[str, Any]  # groupwise.json
    alarm: GapAlarm
    start_step: int = 0
    clock: StepClock | None = None  # of the step under way

    def train(self) -> None:
        """Run from ``start_step`` to the last step; evaluate and save on the way and at the end."""
        if self.start_step == 0:
            self._evaluate(0)
        with tqdm(
            total=self.total_steps, initial=self.start_step, unit="step", dynamic_ncols=True
        ) as bar:
            for step in range(self.start_step, self.total_steps):
                metrics = self._one_step(step)
                bar.set_postfix_str(bar_text(metrics), refresh=False)
                bar.update()
                done = step + 1
                if self._is_due(self.config.eval_every, done):
                    self._evaluate(done)
                if self._is_due(self.config.save_every, done):
                    self._save(done)

    def _one_step(self, step: int) -> Metrics:
        self.clock = StepClock(self.policy.device)
        batch = self._next_batch(step)
        self.clock.lap("data")
        self.optimizer.start_step(step)
        taken = self.take_step(batch, self.clock)
        times = self.clock.metrics()
        metrics = {
            "step": step + 1,
            **taken.metrics,
            **_rates(taken.metrics, batch, times),
            **times,
        }
        self.run.append_metrics(metrics)
        if taken.rollout is not None:
            self.run.append_rollouts({"step": step + 1, **row} for row in taken.rollout_rows)
            self._look_for_trouble(step, metrics, taken.rollout)
        return metrics

    def _next_batch(self, step: int) -> PromptBatch:
        size = self.config.prompts_per_step
        positions = tuple(range(step * size, (step + 1) * size))
        examples = tuple(self.example_at(position) for position in positions)
        prompts = tuple(self.encode(example) for example in examples)
        return PromptBatch(prompts, examples, positions, step)

    def _look_for_trouble(self, step: int, metrics: Metrics, rollout: Rollout) -> None:
        if step == 0:
            for text in first_rollout_warnings(metrics, self.config):
                warn(text)
            for text in image_warnings(self.policy, rollout, self.config.temperature):
                warn(text)
        text = self.alarm.look(metrics)
        if text is not None:
            warn(f"step {step + 1}: {text}")

    def _is_due(self, every: int, done: int) -> bool:
        return done == self.total_steps or (every > 0 and done % every == 0)

    def _evaluate(self, done: int) -> None:
        if self.evaluate is not None:
            self.run.write_evaluation(done, self.evaluate(self.policy, done))

    def _save(self, done: int) -> None:
        save_checkpoint(
            self.run.path,
            done,
            self.policy,
            self.optimizer,
            state={"first_gap_means": self.alarm.first_means[:FIRST_STEPS]},
            card=self.card,
            keep=self.config.keep_checkpoints,
        )


def _rates(metrics: Metrics, batch: PromptBatch, times: Metrics) -> Metrics:
    samples = metrics.pop("samples", len(batch.prompts))
    return {
        "samples_per_second": samples / times["time/step"],
        "tokens_per_second": samples * metrics["completion_tokens"] / times["time/step"],
    }


def bar_text(metrics: Metrics) -> str:
    """Return the progress bar's numbers; those that a method does not have are left away."""
    shown = (
        ("reward", "reward", ".2f"),
        ("accuracy", "reward/accuracy", ".0%"),
        ("tokens", "completion_tokens", ".0f"),
        ("KL", "kl", ".3f"),
        ("loss", "loss", ".3f"),
        ("s/step", "time/step", ".2f"),
    )
    return " ".join(
        f"{label} {metrics[name]:{form}}"
        for label, name, form in shown
        if metrics.get(name) is not None and not (name == "loss" and "reward" in metrics)
    )


def warn(text: str) -> None:
    """Print a warning above the progress bar."""
    tqdm.write(f"warning: {text}", file=sys.stderr)
