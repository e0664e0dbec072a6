"""The evaluators whose result files are written; a new one is a file and an entry."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from evaluation.answers.prediction import Prediction
from evaluation.export import lmms_eval, medevalkit, vlmevalkit
from evaluation.export.answers import Answers


class Evaluator(NamedTuple):
    """How one evaluator's result file is called and what it holds."""

    file_name: str  # with {model} and {dataset}, names that a file can have
    pieces: Callable[[Answers], Iterator[str]]


EVALUATORS = {
    "medevalkit": Evaluator(medevalkit.FILE_NAME, medevalkit.pieces),
    "vlmevalkit": Evaluator(vlmevalkit.FILE_NAME, vlmevalkit.pieces),
    "lmms-eval": Evaluator(lmms_eval.FILE_NAME, lmms_eval.pieces),
}


def check_evaluators(names: Sequence[str]) -> None:
    """Raise a ValueError for an evaluator whose files are not known here."""
    for name in names:
        if name not in EVALUATORS:
            raise ValueError(f"unknown evaluator {name!r}: use one of {', '.join(EVALUATORS)}")


def exported_files(
    names: Sequence[str], about: Mapping[str, Any], plain: Sequence[Prediction]
) -> dict[str, Iterator[str]]:
    """Return the result files of some evaluators: name -> its text in pieces.

    Args:
        names: of EVALUATORS.
        about: summary.json's `evaluation`.
        plain: the answers to the rows as they stand in the data.

    Raises:
        ValueError: an unknown name, or answers that are not as evaluate.py writes them.
    """
    check_evaluators(names)
    if not names:
        return {}
    answers = Answers.of(about, plain)
    chosen = [EVALUATORS[name] for name in names]
    names_of = {"model": answers.model, "dataset": answers.dataset}
    return {one.file_name.format(**names_of): one.pieces(answers) for one in chosen}
