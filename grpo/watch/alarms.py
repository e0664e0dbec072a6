"""Alarms over the stream of metrics: a run that goes wrong slowly says so, and what to try.

What they look for stands in rules.py. A rule warns once, and again when it has become WORSE times
as bad, or after it has been silent for RECOVERY steps.

The memory is metrics.jsonl itself: a resumed run replays it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from grpo.watch.rules import LONG_WINDOW, RULES, Finding, History

RECOVERY = 10
WORSE = 1.5  # times as far beyond its limit as when it was last said


class Repetition:
    """Lets one alarm's findings through once, and again when they are worse or after a recovery."""

    def __init__(self, window: int = 1) -> None:
        """Start with nothing said; `window` steps of the metric go into one finding.

        Until as many steps have passed, one event grows in the window: that is no worsening.
        """
        self._window = window
        self._said: float | None = None
        self._silent_for, self._steps = 0, 0

    def pass_on(self, finding: Finding | None) -> str | None:
        """Return the finding's text if it is to be said; call it at every step."""
        self._steps += 1
        if finding is None:
            self._silent_for += 1
            if self._silent_for >= RECOVERY:
                self._said = None
            return None
        self._silent_for = 0
        if self._said is not None and self._steps < self._window:
            self._said = max(self._said, finding.severity)
            return None
        if self._said is not None and not finding.severity > WORSE * self._said:
            return None
        self._said, self._steps = finding.severity, 0
        return finding.text


class MetricAlarms:
    """All rules over one run; each warns once until it is worse or has recovered."""

    def __init__(self, past: Iterable[Mapping[str, Any]] = ()) -> None:
        """Start, or go on after the steps that a resumed run has done."""
        self._history = History()
        self._repetitions = {rule: Repetition(LONG_WINDOW) for rule in RULES}
        for metrics in past:
            self.look(metrics)

    def look(self, metrics: Mapping[str, Any]) -> list[str]:
        """Return this step's new warnings."""
        self._history.add(metrics)
        said = (self._repetitions[rule].pass_on(rule(self._history)) for rule in RULES)
        return [text for text in said if text is not None]
