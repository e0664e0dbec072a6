"""What is looked at after every step of a run, and said where something is wrong."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from grpo.finite import advice, where_not_finite
from grpo.methods import SampledStep
from grpo.settings.config import GRPOConfig
from grpo.watch.alarms import MetricAlarms
from grpo.watch.first_step import first_rollout_warnings, image_warnings
from grpo.watch.gap import GapAlarm
from grpo.watch.unrewarded import why_unrewarded
from models.policy import Policy


class StepWatch:
    """All warnings of a run: of its first step, of sampler and update, of slow decline.

    Of the supervised baseline there are none: it has no rewards, and a loss that is seen to fall.
    """

    def __init__(
        self, config: GRPOConfig, policy: Policy, past: Iterable[Mapping[str, Any]]
    ) -> None:
        """Start, or go on after ``past``, the metrics of the steps that a resumed run has done."""
        self._config, self._policy = config, policy
        self._gap, self._alarms = GapAlarm(policy.dtype), MetricAlarms()
        for metrics in past:
            self._gap.look(metrics)
            self._alarms.look(metrics)

    def look(
        self, done: int, metrics: Mapping[str, Any], sampled: SampledStep | None
    ) -> Iterator[str]:
        """Yield what is wrong with step number ``done``, the run's first being 1.

        Args:
            done: steps, this one included.
            metrics: the step's.
            sampled: what it sampled; None where answers are listed.
        """
        if self._config.kind == "sft":
            return
        if sampled is not None:
            yield from self._of_sampled(done, metrics, sampled)
        if (text := self._gap.look(metrics)) is not None:
            yield f"step {done}: {text}"
        for text in self._alarms.look(metrics):
            yield f"step {done}: {text}"

    def _of_sampled(
        self, done: int, metrics: Mapping[str, Any], sampled: SampledStep
    ) -> Iterator[str]:
        rollout = sampled.result.rollout
        names = [example.id for example in rollout.batch.examples]
        rows = [name for name in names for _ in range(rollout.group_size)]
        if (where := where_not_finite(rollout.completions, rows)) is not None:
            yield f"step {done}: {where}. {advice(self._policy)}"
        elif done == 1:  # of completions that mean something
            why = why_unrewarded(sampled, self._config)
            if why is not None:
                yield why
            # whose tags that speaks of, too
            well_formed = sampled.well_formed if why is None else None
            yield from first_rollout_warnings(metrics, well_formed, self._config)
            yield from image_warnings(self._policy, rollout, self._config)
