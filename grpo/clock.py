"""Where a step's time goes: laps that add up to the step."""

import time
from collections.abc import Callable

import torch

STEP_PARTS = ("data", "rollout", "reward", "reference", "update", "other")


class StepClock:
    """Times one step. Every lap is named when it ends, so the laps leave no gap between them."""

    def __init__(
        self, device: torch.device, on_part: Callable[[str], None] = lambda _part: None
    ) -> None:
        """Start now. On CUDA each lap waits for the device, else time would be laid to others.

        Args:
            device: that the step computes on.
            on_part: called with the name of each part that begins.
        """
        self._device, self._on_part = device, on_part
        self._laps = dict.fromkeys(STEP_PARTS, 0.0)
        self._started = self._last = time.perf_counter()
        on_part(STEP_PARTS[0])

    def lap(self, name: str, then: str | None = None) -> None:
        """Count the time since the last lap as ``name``; the next part, or ``then``, begins."""
        if self._device.type == "cuda":  # pragma: no cover - needs a GPU
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self._laps[name] += now - self._last
        self._last = now
        following = STEP_PARTS[min(STEP_PARTS.index(name) + 1, len(STEP_PARTS) - 1)]
        self._on_part(then or following)

    def metrics(self) -> dict[str, float]:
        """Return time/<part> and their sum time/step, seconds; what is left counts as other."""
        self.lap("other")
        laps = {f"time/{name}": seconds for name, seconds in self._laps.items()}
        return {**laps, "time/step": self._last - self._started}
