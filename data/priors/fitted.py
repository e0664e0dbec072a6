"""All priors fitted on some rows, and what they get right on others."""

from collections.abc import Mapping, Sequence
from typing import Any

from data.examples import VQAExample
from data.priors.base import TextPrior
from data.priors.lookup import OptionLookup, QuestionMajority
from data.priors.ranker import LinearRanker

PRIORS: dict[str, type[TextPrior]] = {
    "lookup": OptionLookup,
    "question majority": QuestionMajority,
    "linear ranker": LinearRanker,
}


def fit_all(train: Sequence[VQAExample]) -> dict[str, TextPrior]:
    """Return every prior by its name, fitted on these rows.

    Raises:
        ValueError: there is no row.
    """
    return {name: kind().fit(train) for name, kind in PRIORS.items()}


def accuracy(prior: TextPrior, test: Sequence[VQAExample]) -> dict[str, Any]:
    """Return ``n``, ``right`` (a count) and ``accuracy`` (a share) of a prior on some rows.

    Raises:
        ValueError: there is no row.
    """
    return score(prior.choose_all(test), test)


def score(letters: Sequence[str], test: Sequence[VQAExample]) -> dict[str, Any]:
    """Return ``n``, ``right`` and ``accuracy`` of letters chosen for some rows, one per row."""
    if not test:
        raise ValueError("there is no test row to score a text prior on: name a file that has rows")
    right = sum(letter == example.answer for letter, example in zip(letters, test, strict=True))
    return {"n": len(test), "right": right, "accuracy": right / len(test)}


def prior_table(
    train: Sequence[VQAExample] | Mapping[str, TextPrior], test: Sequence[VQAExample]
) -> dict[str, Any]:
    """Return what each prior gets right on test rows, and the rows that the lookup gets wrong.

    Args:
        train: the rows to fit on, or what `fit_all` returned for them.
        test: the rows to score on.

    Returns:
        ``n``, ``chance`` (the mean of 1 / options), ``priors`` (name -> n, right, accuracy) and
        ``lookup_wrong``, the ids of the rows whose answer the option strings do not give away, in
        their order: the rows on which an accuracy says most.

    Raises:
        ValueError: there is no train row, or no test row.
    """
    priors = train if isinstance(train, Mapping) else fit_all(train)
    letters = {name: prior.choose_all(test) for name, prior in priors.items()}
    return {
        "n": len(test),
        "priors": {name: score(chosen, test) for name, chosen in letters.items()},
        "chance": chance(test),
        "lookup_wrong": [
            example.id
            for letter, example in zip(letters["lookup"], test, strict=True)
            if letter != example.answer
        ],
    }


def chance(examples: Sequence[VQAExample]) -> float:
    """Return the accuracy of guessing blindly: the mean of 1 / number of options."""
    return sum(1 / len(example.options) for example in examples) / len(examples)
