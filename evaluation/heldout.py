"""Held-out accuracy during training: the callable that train.py hands to the trainer."""

from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from data.examples import VQAExample
from data.turns import TurnBuilder
from evaluation.predictions import Prediction
from evaluation.scoring import score
from evaluation.summary import summarize
from models.policy import Policy


class HeldOut:
    """Scores a policy on the same questions every time, greedy, with the run's own prompt."""

    def __init__(
        self,
        examples: Sequence[VQAExample],
        turn_builder: TurnBuilder,
        mode: str,
        max_completion_tokens: int,
        *,
        batch_size: int = 32,
    ) -> None:
        """Keep what every evaluation has in common; the arguments are those of `score`."""
        self._examples, self._turn_builder = examples, turn_builder
        self._mode, self._limit, self._batch_size = mode, max_completion_tokens, batch_size
        self.predictions: list[Prediction] = []  # of the newest evaluation

    def __call__(self, policy: Policy, step: int) -> dict[str, Any]:
        """Return the summary of this policy, and print its first line."""
        self.predictions = score(
            policy,
            self._examples,
            self._turn_builder,
            mode=self._mode,
            max_completion_tokens=self._limit,
            batch_size=self._batch_size,
        )
        summary = summarize(self.predictions)
        overall = summary["overall"]
        tqdm.write(
            f"step {step}: held-out accuracy {overall['accuracy']:.1%} (95 % range"
            f" {overall['low']:.1%} to {overall['high']:.1%}, {overall['n']} questions)"
        )
        return summary
