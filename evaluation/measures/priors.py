"""What the text alone reaches on the same questions: priors fitted on train rows, no image seen."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypedDict

from data.examples import VQAExample
from evaluation.answers.prediction import Prediction
from evaluation.measures.summary import Accuracy, accuracy_on


class Prior(Protocol):
    """Answers a question by its text."""

    def choose(self, example: VQAExample) -> str:
        """Return a letter."""


class PriorSummary(TypedDict):
    """What one prior reaches on the rows of an evaluation."""

    prior: Accuracy
    model_where_wrong: Accuracy | None  # the model's; None for a prior that is never wrong


def summarize_priors(
    priors: Mapping[str, Prior],
    examples: Sequence[VQAExample],
    predictions: Sequence[Prediction],
) -> dict[str, PriorSummary]:
    """Return per prior its own accuracy and the model's where the prior is wrong.

    Args:
        priors: by name.
        examples: the rows of the evaluation, options in their own order.
        predictions: the model's, one per example in the same order.
    """
    return {
        name: _compare([prior.choose(item) for item in examples], examples, predictions)
        for name, prior in priors.items()
    }


def _compare(
    letters: Sequence[str], examples: Sequence[VQAExample], predictions: Sequence[Prediction]
) -> PriorSummary:
    correct = [letter == example.answer for letter, example in zip(letters, examples, strict=True)]
    wrong = [item for item, right in zip(predictions, correct, strict=True) if not right]
    return {
        "prior": accuracy_on(predictions, correct),
        "model_where_wrong": accuracy_on(wrong, [item.correct for item in wrong])
        if wrong
        else None,
    }
