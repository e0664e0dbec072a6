"""What the text alone reaches on the same questions: priors fitted on train rows, no image seen.

A prior knows the answers to the questions that it was fitted on: what it gets right there is no
guess. So asked rows that stand among the fitted ones are counted beside its accuracy.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NotRequired, Protocol, TypedDict

from data.examples import VQAExample
from data.repeats import asked
from evaluation.answers.prediction import Prediction
from evaluation.measures.summary import Accuracy, accuracy_on
from rewards.forms import is_right


class Prior(Protocol):
    """Answers a question by its text."""

    def choose(self, example: VQAExample) -> str | None:
        """Return a letter, or an open question's answer; None where it has none."""


@dataclass(frozen=True)
class FittedPriors:
    """Priors, and what the rows show and ask that they were fitted on."""

    priors: Mapping[str, Prior]  # by name
    questions: frozenset[Hashable]

    @classmethod
    def on(cls, rows: Sequence[VQAExample]) -> "FittedPriors":
        """Return all of data.priors, fitted.

        Raises:
            ValueError: no rows.
        """
        from data.priors import fit_all  # imports numpy, which not every command waits for

        return cls(fit_all(rows), frozenset(map(_question, rows)))

    def knows(self, example: VQAExample) -> bool:
        """Return whether the question, of the same images and options, is one of the fitted."""
        return _question(example) in self.questions


class PriorSummary(TypedDict):
    """What one prior reaches on the rows of an evaluation."""

    prior: Accuracy
    model_where_wrong: Accuracy | None  # the model's; None for a prior that is never wrong
    # Only where there are any: rows of a kind that the prior has no answer to, in neither of these.
    left_out: NotRequired[int]
    fitted_on: NotRequired[int]  # rows of the prior's n that it was fitted on: it knows the answer


def summarize_priors(
    fitted: FittedPriors,
    examples: Sequence[VQAExample],
    predictions: Sequence[Prediction],
) -> dict[str, PriorSummary]:
    """Return per prior its own accuracy and the model's where the prior is wrong.

    A prior that has an answer to none of the rows is left out.

    Args:
        fitted: the priors.
        examples: the rows of the evaluation, options in their own order.
        predictions: the model's, one per example in the same order.
    """
    known = [fitted.knows(item) for item in examples]
    found = {
        name: _compare([prior.choose(item) for item in examples], known, examples, predictions)
        for name, prior in fitted.priors.items()
    }
    return {name: entry for name, entry in found.items() if entry is not None}


def _compare(
    answers: Sequence[str | None],
    known: Sequence[bool],
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
    pairs = zip(answers, known, strict=True)
    if fitted_on := sum(is_known for one, is_known in pairs if one is not None):
        found["fitted_on"] = fitted_on
    return found


def _question(example: VQAExample) -> Hashable:
    return *asked(example), *sorted(example.options)
