"""What the text alone reaches on the same questions: priors fitted on train rows, no image seen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypedDict

from data.examples import VQAExample
from data.reading.readers import read_examples
from data.sources import is_phantoms, load_split
from evaluation.answers.prediction import Prediction
from evaluation.measures.summary import Accuracy, accuracy_of


class Prior(Protocol):
    """Answers a question by its text."""

    def choose(self, example: VQAExample) -> str:
        """Return a letter."""


class PriorSummary(TypedDict):
    """What one prior reaches on the rows of an evaluation."""

    prior: Accuracy
    model_where_wrong: Accuracy | None  # the model's; None for a prior that is never wrong


def fit_priors(
    names: Sequence[str], image_root: str | None, *, skip_bad_rows: bool = False
) -> dict[str, Prior]:
    """Return every prior of data.priors by name, fitted; none where no file is named.

    Args:
        names: train files, or ``phantoms``: their training part. No image is opened.
        image_root: as for the questions; it only becomes part of the rows' image paths.
        skip_bad_rows: leave out rows that are wrong.

    Raises:
        ValueError: a file that cannot be read, or no rows.
    """
    if not names:
        return {}
    from data.priors import fit_all

    rows: list[VQAExample] = []
    for name in names:
        if is_phantoms(name):
            rows += load_split([name], part="train", image_root=None).examples
        else:
            found, _ = read_examples(name, Path(image_root or "."), skip_bad_rows=skip_bad_rows)
            rows += found
    return dict(fit_all(rows))


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
        "prior": _entry(correct, predictions),
        "model_where_wrong": _entry([item.correct for item in wrong], wrong) if wrong else None,
    }


def _entry(correct: Sequence[bool], rows: Sequence[Prediction]) -> Accuracy:
    counts = [len(item.options) for item in rows]
    return accuracy_of(correct, counts, [item.images for item in rows])
