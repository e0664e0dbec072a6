"""From predictions to the numbers that are reported, per slice of the questions.

An entry of a summary describes one slice:

    accuracy                share of right answers, read strictly: wrong form counts as wrong
    n                       questions
    low, high               95 % Wilson interval of the accuracy
    chance                  accuracy of uniform guessing: mean of 1 / number of options
    lenient_accuracy        share right as a forgiving reader would take the completions
    well_formed             share with exactly the mode's tags and one letter
    parse_failures          share in which the strict parser finds no letter
    lenient_parse_failures  share in which the forgiving reader finds none either
    truncated               share cut off by the limit of tokens
    completion_tokens       mean length
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from data.examples import MODALITIES, QUESTION_TYPES, UNKNOWN
from evaluation.predictions import Prediction
from evaluation.statistics import chance_level, wilson_interval

Entry = dict[str, float]


def summarize(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Return overall, by_modality, by_question_type, by_dataset and macro.

    The first four hold entries (see the module's head), slices that do not occur left out. macro
    holds the plain mean of the slices' accuracies along each axis, in which a small slice weighs as
    much as a large one, beside the row-weighted mean, the overall accuracy.

    Raises:
        ValueError: no predictions.
    """
    if not predictions:
        raise ValueError("no predictions to summarize: the evaluation set is empty")
    axes = {
        "by_modality": _by(predictions, lambda item: item.modality, MODALITIES),
        "by_question_type": _by(predictions, lambda item: item.question_type, QUESTION_TYPES),
        "by_dataset": _by(predictions, lambda item: item.dataset, ()),
    }
    overall = entry(predictions)
    macro = {
        axis: _mean(slice_entry["accuracy"] for slice_entry in slices.values())
        for axis, slices in axes.items()
    }
    return {"overall": overall, **axes, "macro": {**macro, "row_weighted": overall["accuracy"]}}


def entry(predictions: Sequence[Prediction]) -> Entry:
    """Return the numbers of one slice; see the module's head."""
    n = len(predictions)
    num_correct = sum(item.correct for item in predictions)
    low, high = wilson_interval(num_correct, n)
    return {
        "accuracy": num_correct / n,
        "n": n,
        "low": low,
        "high": high,
        "chance": chance_level([len(item.options) for item in predictions]),
        "lenient_accuracy": _mean(item.lenient_correct for item in predictions),
        "well_formed": _mean(item.well_formed for item in predictions),
        "parse_failures": _mean(item.choice is None for item in predictions),
        "lenient_parse_failures": _mean(item.lenient_choice is None for item in predictions),
        "truncated": _mean(item.truncated for item in predictions),
        "completion_tokens": _mean(item.completion_tokens for item in predictions),
    }


def _by(
    predictions: Sequence[Prediction], key: Callable[[Prediction], str], order: Sequence[str]
) -> dict[str, Entry]:
    """Return one entry per value of ``key``: in ``order``, then by name, unknown last."""
    slices: dict[str, list[Prediction]] = {}
    for item in predictions:
        slices.setdefault(key(item), []).append(item)
    known = [name for name in order if name in slices]
    others = sorted(set(slices) - set(known), key=lambda name: (name == UNKNOWN, name))
    return {name: entry(slices[name]) for name in (*known, *others)}


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
