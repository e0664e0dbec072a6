"""What a step leaves: its line in metrics.jsonl, its rollouts, and warnings where they are due."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from grpo.methods import TakenStep
from grpo.rollout import PromptBatch
from grpo.run.directory import RunDirectory
from grpo.run.profiler import StepProfiler
from grpo.run.rollouts import rollout_rows
from grpo.watch.bad_steps import BadSteps
from grpo.watch.every_step import StepWatch
from grpo.watch.first_completions import first_completions
from process.bars import warn
from process.page import fitted
from process.storage import finite_or_null


@dataclass
class StepLog:
    """Writes down every step of a run and says what is odd about it, above the progress bar."""

    run: RunDirectory
    bad_steps: BadSteps
    watch: StepWatch
    profiler: StepProfiler | None

    def record(
        self,
        number: int,
        taken: TakenStep,
        times: dict[str, float],
        batch: PromptBatch,
        *,
        skipped: bool,
    ) -> dict[str, Any]:
        """Write down a step that is over; return its line of metrics.jsonl.

        Args:
            number: the step's, counted from 1.
            taken: what the method did.
            times: the step's, by their names in metrics.jsonl.
            batch: what the step was about.
            skipped: whether its update was left out.
        """
        found = {"step": number, **taken.metrics, "redrawn_rows": len(batch.redrawn)}
        found |= {**_rates(taken, times), **times}
        if text := self.bad_steps.count(found["grad_norm"], batch.examples, skipped=skipped):
            warn(f"step {number}: {text}")
        metrics = finite_or_null(found) | {"bad_steps": self.bad_steps.total}
        lost = [name for name in found if found[name] is not None and metrics[name] is None]
        if lost:
            warn(f"step {number}: not finite, null in metrics.jsonl: {', '.join(lost)}")
        self.run.append_step(metrics, _rollouts(number, taken))
        if self.profiler is not None and (table := self.profiler.end_step(number, metrics)):
            tqdm.write(table)
        if taken.sampled is not None and number == 1:
            tqdm.write(fitted(first_completions(taken.sampled)))
        for text in self.watch.look(number, metrics, taken.sampled):
            warn(text)
        return metrics


def _rollouts(number: int, taken: TakenStep) -> Iterator[dict[str, Any]]:
    if (sampled := taken.sampled) is not None:
        for row in rollout_rows(sampled.result, sampled.reward_names, sampled.choices):
            yield {"step": number, **row}


def _rates(taken: TakenStep, times: dict[str, float]) -> dict[str, float]:
    tokens: float | None = taken.tokens
    if tokens is None:
        tokens = taken.samples * taken.metrics["completion_tokens"]
    seconds = times["time/step"]
    return {"samples_per_second": taken.samples / seconds, "tokens_per_second": tokens / seconds}


def bar_text(metrics: dict[str, Any]) -> str:
    """Return the progress bar's numbers; those that a method does not have are left out."""
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
