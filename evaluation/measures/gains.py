"""What the image contributes: accuracy minus that of a control, on the same rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from evaluation.answers.prediction import Prediction
from evaluation.measures.clusters import image_clusters
from evaluation.measures.intervals import image_interval
from evaluation.measures.sensitivity import Sensitivity, image_sensitivity
from evaluation.measures.sliced import Numbers, by_kinds, by_slices
from evaluation.measures.summary import summarize


class Gain(TypedDict):
    """What some rows gain over the same rows under a control."""

    gain: float  # accuracy minus the control's
    low: float | None  # its 95 % interval by image; None where all rows share one image
    high: float | None
    n: int
    images: int  # groups of rows without a common image: they stand and fall together
    accuracy: float
    control_accuracy: float


def summarize_control(
    predictions: Sequence[Prediction],
    control: Sequence[Prediction],
    impossible: Mapping[str, int],
) -> dict[str, Any]:
    """Return a control's own summary, its gain, and the rows it is impossible for.

    The keys of `summarize`; ``gain`` (see `paired_gain`) and ``sensitivity`` (`image_sensitivity`),
    each with entries of its own by slice and kind of answer; ``impossible`` counts rows by the
    reason.

    Args:
        predictions: the evaluation's own, with the rows' images.
        control: the control's, of the same rows or of those that it is possible for.
        impossible: as `evaluation.answers.controls.ControlRows` holds it.
    """
    of_control = {item.id: item for item in control}
    paired = [item for item in predictions if item.id in of_control]

    def gain(rows: Sequence[Prediction]) -> Gain:
        return paired_gain(rows, [of_control[item.id] for item in rows])

    def sensitivity(rows: Sequence[Prediction]) -> Sensitivity:
        return image_sensitivity(rows, [of_control[item.id] for item in rows])

    return {
        **summarize(control),
        "gain": _sliced(paired, gain),
        "sensitivity": _sliced(paired, sensitivity),
        "impossible": dict(impossible),
    }


def _sliced(
    rows: Sequence[Prediction], numbers: Callable[[Sequence[Prediction]], Numbers]
) -> dict[str, Any]:
    return {**numbers(rows), **by_slices(rows, numbers), **by_kinds(rows, numbers)}


def paired_gain(predictions: Sequence[Prediction], control: Sequence[Prediction]) -> Gain:
    """Return the difference of two accuracies on the same rows, with its 95 % interval by image.

    Raises:
        ValueError: the two are not about the same rows in the same order, or there are none.
    """
    if [item.id for item in predictions] != [item.id for item in control] or not control:
        raise ValueError(
            f"{len(predictions)} predictions and {len(control)} of a control are not about the same"
            " rows, at least one: pair them by id"
        )
    differences = [
        int(own.correct) - int(other.correct)
        for own, other in zip(predictions, control, strict=True)
    ]
    # the rows' own images: those of a control are borrowed, and would tie rows that are not alike
    clusters = image_clusters([item.images for item in predictions])
    low, high = image_interval(differences, clusters, share=False)
    n = len(differences)
    return {
        "gain": sum(differences) / n,
        "low": low,
        "high": high,
        "n": n,
        "images": len(set(clusters)),
        "accuracy": sum(item.correct for item in predictions) / n,
        "control_accuracy": sum(item.correct for item in control) / n,
    }
