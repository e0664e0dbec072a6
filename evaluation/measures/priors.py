"""What the text alone reaches on the same questions: priors fitted on train rows, no image seen."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, Protocol, TypedDict

from data.examples import VQAExample
from evaluation.answers.prediction import Prediction
from evaluation.measures.summary import Accuracy, accuracy_on
from rewards.forms import is_right


class Prior(Protocol):
    """Answers a question by its text."""

    def choose(self, example: VQAExample) -> str | None:
        """Return a letter, or an open question's answer; None where it has none."""


class PriorSummary(TypedDict):
    """What one prior reaches on the rows of an evaluation."""

    prior: Accuracy
    model_where_wrong: Accuracy | None  # the model's; None for a prior that is never wrong
    # Only where there are any: rows of a kind that the prior has no answer to, in neither of these.
    left_out: NotRequired[int]


def summarize_priors(
    priors: Mapping[str, Prior],
    examples: Sequence[VQAExample],
    predictions: Sequence[Prediction],
) -> dict[str, PriorSummary]:
    """Return per prior its own accuracy and the model's where the prior is wrong.

    A prior that has an answer to none of the rows is left out.

    Args:
        priors: by name.
        examples: the rows of the evaluation, options in their own order.
        predictions: the model's, one per example in the same order.
    """
    found = {
        name: _compare([prior.choose(item) for item in examples], examples, predictions)
        for name, prior in priors.items()
    }
    return {name: entry for name, entry in found.items() if entry is not None}


def _compare(
    answers: Sequence[str | None],
    examples: Sequence[VQAExample],
    predictions: Sequence[Prediction],
) -> PriorSummary | None:
    triples = zip(answers, examples, predictions, strict=True)
    judged = [(is_right(one, row), item) for one, row, item in triples if one is not None]
    if not judged:
        return None
    rows, wrong = [item for _, item in judged], [item for right, item in judged if not right]
    found: PriorSummary = {
        "prior": accuracy_on(rows, [right for right, _ in judged]),
        "model_where_wrong": accuracy_on(wrong, [item.correct for item in wrong])
        if wrong
        else None,
    }
    if left_out := len(predictions) - len(judged):
        found["left_out"] = left_out
    return found
