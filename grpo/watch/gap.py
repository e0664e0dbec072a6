"""The alarm over the gap between sampler and update: the policy must train on what it sampled."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from grpo.watch.alarms import Repetition
from grpo.watch.rules import Finding

GAP_MAX_FLOAT32 = 1e-3  # nat; decode and update differ by rounding alone, about 1e-6
# nat; rounding alone gave a mean of 0.04 on six layers when decoding still rounded its scores
GAP_MEAN_BFLOAT16 = 0.1
# However small the first steps' gap was: ratios that are 2 % off are far inside any clip range.
GAP_MEAN_FLOOR = 0.02
GAP_GROWTH = 3.0  # against the mean of the run's first steps
USUAL_STEPS = 5


class GapAlarm:
    """Watches |logp(decode) - logp(update)| of the sampled tokens over a run.

    Speaks once, and again when the gap has become worse or comes back (grpo/watch/alarms.py). Its
    memory is metrics.jsonl: a resumed run replays it.
    """

    def __init__(self, dtype: torch.dtype, past: Iterable[Mapping[str, Any]] = ()) -> None:
        """Start, or go on after the steps that a resumed run has done."""
        self._dtype = dtype
        self._first_means: list[float] = []
        self._repetition = Repetition()
        for metrics in past:
            self.look(metrics)

    def look(self, metrics: Mapping[str, Any]) -> str | None:
        """Return a warning if this step's gap is more than rounding and was not warned about."""
        mean, largest = metrics.get("logprob_gap/mean"), metrics.get("logprob_gap/max")
        if mean is None or largest is None:  # no row was run, it was not finite, or nothing sampled
            return None
        limit = self._limit()
        if len(self._first_means) < USUAL_STEPS:
            self._first_means.append(mean)
        if self._dtype == torch.float32:
            severity, way_out = largest / GAP_MAX_FLOAT32, "please report it"
        else:
            severity, way_out = mean / limit, "start anew with --dtype float32, and report it"
        text = (
            f"rollout and update disagree on the sampled tokens' log-probabilities: mean"
            f" {mean:.2g}, max {largest:.2g} nat. The policy is trained off what it sampled:"
            f" {way_out} with the model's name"
        )
        return self._repetition.pass_on(Finding(text, severity) if severity > 1 else None)

    def _limit(self) -> float:
        """Return the largest mean gap, in half precision, that is taken for rounding."""
        if len(self._first_means) < USUAL_STEPS:
            return GAP_MEAN_BFLOAT16
        usual = sum(self._first_means) / USUAL_STEPS
        return min(GAP_MEAN_BFLOAT16, max(GAP_MEAN_FLOOR, GAP_GROWTH * usual))
