"""All priors fitted on some rows, and what they get right on others."""

from collections.abc import Mapping, Sequence
from typing import Any

from data.examples import VQAExample
from data.priors.base import TextPrior
from data.priors.lookup import OptionLookup, QuestionMajority
from data.priors.open_answers import AnswerMajority, NearestQuestion
from data.priors.ranker import LinearRanker
from rewards.forms import FORMS, is_right

PRIORS: dict[str, type[TextPrior]] = {
    "lookup": OptionLookup,
    "question majority": QuestionMajority,
    "linear ranker": LinearRanker,
    "answer majority": AnswerMajority,
    "nearest question": NearestQuestion,
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


def score(answers: Sequence[str | None], test: Sequence[VQAExample]) -> dict[str, Any]:
    """Return ``n``, ``right`` and ``accuracy`` of what was chosen for some rows, one per row.

    Rows without an answer (None) are left out of all three; accuracy is None where all are.
    """
    if not test:
        raise ValueError("there is no test row to score a text prior on: name a file that has rows")
    pairs = zip(answers, test, strict=True)
    judged = [is_right(answer, example) for answer, example in pairs if answer is not None]
    n, right = len(judged), sum(judged)
    return {"n": n, "right": right, "accuracy": right / n if n else None}


def prior_table(
    train: Sequence[VQAExample] | Mapping[str, TextPrior], test: Sequence[VQAExample]
) -> dict[str, Any]:
    """Return what each prior gets right on test rows, and the rows that the lookup gets wrong.

    Args:
        train: the rows to fit on, or what `fit_all` returned for them.
        test: the rows to score on.

    Returns:
        ``n``, ``chance`` (see `chance`), ``priors`` (name -> n, right, accuracy; those that answer
        no row are left out) and ``lookup_wrong``, the ids of the rows whose answer the option
        strings do not give away, in their order: the rows on which an accuracy says most. Where
        closed and open questions are among the rows, ``closed`` and ``open`` hold n, chance and
        priors of each.

    Raises:
        ValueError: there is no train row, or no test row.
    """
    priors = train if isinstance(train, Mapping) else fit_all(train)
    answers = {name: prior.choose_all(test) for name, prior in priors.items()}
    wrong = [
        example.id
        for answer, example in zip(answers["lookup"], test, strict=True)
        if answer is not None and not is_right(answer, example)
    ]
    table = {**_scored(answers, test), "lookup_wrong": wrong}
    closed = [example.kind == "choice" for example in test]
    if len(set(closed)) > 1:
        for part, wanted in (("closed", True), ("open", False)):
            rows = [row for row, is_closed in enumerate(closed) if is_closed == wanted]
            chosen = {name: [some[row] for row in rows] for name, some in answers.items()}
            table[part] = _scored(chosen, [test[row] for row in rows])
    return table


def _scored(
    answers: Mapping[str, Sequence[str | None]], test: Sequence[VQAExample]
) -> dict[str, Any]:
    scores = {name: score(chosen, test) for name, chosen in answers.items()}
    return {
        "n": len(test),
        "priors": {name: found for name, found in scores.items() if found["n"]},
        "chance": chance(test),
    }


def chance(examples: Sequence[VQAExample]) -> float | None:
    """Return the accuracy of guessing blindly: the mean of the questions' own rates.

    None where one of them has none, as open questions do.
    """
    rates = [FORMS[example.form].chance(example) for example in examples]
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if len(known) == len(rates) else None
