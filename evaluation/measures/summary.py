"""From predictions to the numbers that are reported, per slice of the questions.

An entry of a summary describes one slice:

    accuracy                share of right answers, read strictly: wrong form counts as wrong
    n                       questions
    low, high               95 % Wilson interval of the accuracy
    chance                  accuracy of uniform guessing: mean of 1 / number of options
    images                  only where rows share images: groups of rows without a common image
    image_low, image_high   only there: 95 % interval by image (`intervals.image_interval`); None
                            where one image is behind all rows
    lenient_accuracy        share right as a forgiving reader would take the completions
    well_formed             share with exactly the mode's tags and one letter
    parse_failures          share in which the strict parser finds no letter
    lenient_parse_failures  share in which the forgiving reader finds none either
    truncated               share cut off by the limit of tokens
    completion_tokens       mean length
    unanswered              only where there are any: rows that could not be read when they were to
                            be asked, counted as wrong
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from data.examples import MODALITIES, QUESTION_TYPES, UNKNOWN
from evaluation.answers.prediction import Prediction
from evaluation.measures.clusters import image_clusters
from evaluation.measures.intervals import image_interval
from evaluation.measures.statistics import chance_level, wilson_interval

Entry = dict[str, float | None]


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
    axes = by_slices(predictions, entry)
    overall = entry(predictions)
    macro = {
        axis: _mean(slice_entry["accuracy"] for slice_entry in slices.values())
        for axis, slices in axes.items()
    }
    return {"overall": overall, **axes, "macro": {**macro, "row_weighted": overall["accuracy"]}}


def entry(predictions: Sequence[Prediction]) -> Entry:
    """Return the numbers of one slice; see the module's head."""
    num_unanswered = sum(item.unanswered is not None for item in predictions)
    return {
        **accuracy_entry(
            [item.correct for item in predictions],
            [len(item.options) for item in predictions],
            [item.images for item in predictions],
        ),
        "lenient_accuracy": _mean(item.lenient_correct for item in predictions),
        "well_formed": _mean(item.well_formed for item in predictions),
        "parse_failures": _mean(item.choice is None for item in predictions),
        "lenient_parse_failures": _mean(item.lenient_choice is None for item in predictions),
        "truncated": _mean(item.truncated for item in predictions),
        "completion_tokens": _mean(item.completion_tokens for item in predictions),
        **({"unanswered": num_unanswered} if num_unanswered else {}),
    }


def accuracy_entry(
    correct: Sequence[bool], option_counts: Sequence[int], images: Sequence[Sequence[str]]
) -> Entry:
    """Return accuracy, n, low, high and chance of n rows, and images where rows share them.

    Raises:
        ValueError: no rows.
    """
    num_correct, n = sum(correct), len(correct)
    low, high = wilson_interval(num_correct, n)
    numbers: Entry = {
        "accuracy": num_correct / n,
        "n": n,
        "low": low,
        "high": high,
        "chance": chance_level(option_counts),
    }
    clusters = image_clusters(images)
    if len(set(clusters)) < n:
        image_low, image_high = image_interval(correct, clusters, share=True)
        numbers |= {
            "images": len(set(clusters)),
            "image_low": image_low,
            "image_high": image_high,
        }
    return numbers


def by_slices(
    predictions: Sequence[Prediction], numbers: Callable[[Sequence[Prediction]], Entry]
) -> dict[str, dict[str, Entry]]:
    """Return ``numbers`` of each slice's predictions, by axis: by_modality, by_question_type, ..

    Slices stand in the order of their axis, then by name, unknown last; those that do not occur are
    left out.
    """
    return {
        "by_modality": _by(predictions, numbers, lambda item: item.modality, MODALITIES),
        "by_question_type": _by(
            predictions, numbers, lambda item: item.question_type, QUESTION_TYPES
        ),
        "by_dataset": _by(predictions, numbers, lambda item: item.dataset, ()),
    }


def _by(
    predictions: Sequence[Prediction],
    numbers: Callable[[Sequence[Prediction]], Entry],
    key: Callable[[Prediction], str],
    order: Sequence[str],
) -> dict[str, Entry]:
    slices: dict[str, list[Prediction]] = {}
    for item in predictions:
        slices.setdefault(key(item), []).append(item)
    known = [name for name in order if name in slices]
    others = sorted(set(slices) - set(known), key=lambda name: (name == UNKNOWN, name))
    return {name: numbers(slices[name]) for name in (*known, *others)}


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)
