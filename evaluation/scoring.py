"""One model on one test set, from questions to written answers.

`evaluate.py` does this once, a matrix for each of its cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluation.answers.prediction import Prediction
from evaluation.asked_rows import AskedRows
from evaluation.asking.answered_by import answered_by
from evaluation.asking.asked_model import AskedModel
from evaluation.asking.dealing import fewest
from evaluation.asking.evaluation_plan import summarize_passes
from evaluation.asking.resumable import ResumableEvaluation

if TYPE_CHECKING:  # imports torch, for which no mistake in flags or data should wait
    from models.policy import Policy


@dataclass(frozen=True)
class Scoring:
    """An evaluation that is ready to be asked, or to go on."""

    model: AskedModel
    test: AskedRows
    evaluation: ResumableEvaluation  # its plan, and what is answered already
    controls: Sequence[str]
    with_letters: bool  # the option letters' probabilities too, for the calibration

    def batch_size(self, policy: "Policy", given: int | None) -> int:
        """Return how many questions are answered at once; None: as many as fit everywhere."""
        from evaluation.asking.batching import batch_size_of

        settings, examples, letters = self.model.settings, self.test.examples, self.with_letters
        return fewest(batch_size_of(given, policy, settings, examples, with_letters=letters))

    def ask(self, policy: "Policy", batch_size: int) -> None:
        """Ask what is not answered yet; of several processes the first has the answers."""
        from evaluation.asking.answerer import Answerer

        settings = self.model.settings
        answerer = Answerer(
            policy,
            settings.turn_builder,
            mode=settings.mode,
            max_completion_tokens=settings.max_completion_tokens,
            with_letters=self.with_letters,
        )
        self.evaluation.run(answerer, batch_size)

    def answers(self, by: Sequence[str] = ()) -> tuple[list[Prediction], dict[str, Any]]:
        """Return the answers to the questions as they stand in the data, and the summary of all.

        Args:
            by: fields of the rows to tell accuracies apart by, beside those of every summary.
        """
        predictions = self.evaluation.predictions()
        plain = predictions[: len(self.test.examples)]
        return plain, summarize_passes(self.evaluation.plan, predictions, by)

    def about(self, policy: "Policy", batch_size: int) -> dict[str, Any]:
        """Return summary.json's `evaluation`: who was asked what, how and where."""
        model = self.model
        return {
            "model": model.checkpoint,
            **answered_by(model.directory, model.checksum, policy),
            **model.settings.to_json(),
            "data": self.test.to_json(),
            "batch_size": batch_size,
            "controls": list(self.controls),
        }
