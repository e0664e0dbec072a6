"""From predictions to the numbers that are reported, per slice of the questions."""

from collections.abc import Iterable, Sequence
from typing import Any, NotRequired, TypedDict

from evaluation.answers.prediction import Prediction
from evaluation.measures.clusters import image_clusters
from evaluation.measures.intervals import image_interval
from evaluation.measures.sliced import FIELDS, by_fields, by_kinds, by_slices
from evaluation.measures.statistics import chance_level, wilson_interval


class Accuracy(TypedDict):
    """How many of some rows are right, and how sure that is; the keys are those of summary.json."""

    accuracy: float  # share of right answers, read strictly: wrong form counts as wrong
    n: int  # questions
    low: float  # 95 % Wilson interval of the accuracy
    high: float
    # Accuracy of uniform guessing: mean of 1 / number of options; None where free texts or numbers
    # are among the rows.
    chance: float | None
    # Only where rows share images: groups of rows without a common image, and the 95 % interval by
    # image (`intervals.image_interval`), None where all rows show one image.
    images: NotRequired[int]
    image_low: NotRequired[float | None]
    image_high: NotRequired[float | None]


class SliceSummary(Accuracy):
    """What is said of one slice of the questions."""

    lenient_accuracy: float  # share right as a forgiving reader would take the completions
    well_formed: float  # share with exactly the mode's tags and an answer of the form
    parse_failures: float  # share in which the strict parser finds no letter
    lenient_parse_failures: float  # share in which the forgiving reader finds none either
    truncated: float  # share cut off by the limit of tokens
    completion_tokens: float  # mean length
    # Only where there are any: rows that could not be read when they were to be asked, counted as
    # wrong.
    unanswered: NotRequired[int]


def summarize(predictions: Sequence[Prediction], by: Sequence[str] = FIELDS) -> dict[str, Any]:
    """Return overall, by_modality, by_question_type, by_dataset and macro, and more where it is.

    All but macro hold `SliceSummary`, slices that do not occur left out; see `by_kinds` for closed
    and open questions, `by_fields` for those of the rows' fields ``by``. macro holds the plain mean
    of the slices' accuracies along each axis of every row, in which a small slice weighs as much as
    a large one, beside the row-weighted mean, the overall accuracy.

    Raises:
        ValueError: no predictions.
    """
    if not predictions:
        raise ValueError("no predictions to summarize: the evaluation set is empty")
    axes = by_slices(predictions, slice_summary)
    overall = slice_summary(predictions)
    macro = {
        axis: _mean(entry["accuracy"] for entry in slices.values()) for axis, slices in axes.items()
    }
    return {
        "overall": overall,
        **axes,
        **by_kinds(predictions, slice_summary),
        **by_fields(predictions, slice_summary, by),
        "macro": {**macro, "row_weighted": overall["accuracy"]},
    }


def slice_summary(predictions: Sequence[Prediction]) -> SliceSummary:
    """Return the numbers of one slice."""
    found: SliceSummary = {
        **accuracy_on(predictions, [item.correct for item in predictions]),
        "lenient_accuracy": _mean(item.lenient_correct for item in predictions),
        "well_formed": _mean(item.well_formed for item in predictions),
        "parse_failures": _mean(item.choice is None for item in predictions),
        "lenient_parse_failures": _mean(item.lenient_choice is None for item in predictions),
        "truncated": _mean(item.truncated for item in predictions),
        "completion_tokens": _mean(item.completion_tokens for item in predictions),
    }
    if num_unanswered := sum(item.unanswered is not None for item in predictions):
        found["unanswered"] = num_unanswered
    return found


def accuracy_on(rows: Sequence[Prediction], correct: Sequence[bool]) -> Accuracy:
    """Return the accuracy of somebody's answers, right or wrong, to the rows of predictions."""
    return accuracy_of(correct, [item.chance for item in rows], [item.images for item in rows])


def accuracy_of(
    correct: Sequence[bool], chances: Sequence[float | None], images: Sequence[Sequence[str]]
) -> Accuracy:
    """Return the accuracy of n rows and how sure it is, by image too where rows share them.

    Args:
        correct: n, whether each is right.
        chances: n, how often a guess would be; None: guessing has no rate.
        images: n, the names of each row's images.

    Raises:
        ValueError: no rows.
    """
    num_correct, n = sum(correct), len(correct)
    low, high = wilson_interval(num_correct, n)
    found: Accuracy = {
        "accuracy": num_correct / n,
        "n": n,
        "low": low,
        "high": high,
        "chance": chance_level(chances),
    }
    clusters = image_clusters(images)
    if len(set(clusters)) < n:
        found["images"] = len(set(clusters))
        found["image_low"], found["image_high"] = image_interval(correct, clusters, share=True)
    return found


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
