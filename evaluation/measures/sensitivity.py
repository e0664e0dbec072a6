"""Image sensitivity: how many answers change when the image that they are about is taken away.

    sensitivity = rows whose answer under the control is another one / rows

over the rows that the control is possible for, so rows without an image are not among them. An
answer is what the strict parser reads (`Prediction.choice`), right or wrong. Two are one answer
where the question's form takes the one for the other ("Left lung." and "left lung", 3 and 3.0).
Unread in both is unchanged, and counted; unread in one is changed.

Beside the gain, which only says how many more answers are right: a model may change half of its
answers and gain nothing, or be right without looking. Source of the name: arXiv:2603.03437, which
asks under blank and under shuffled images; the rules for unread answers are ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from evaluation.answers.prediction import Prediction
from evaluation.measures.clusters import image_clusters
from evaluation.measures.intervals import image_interval
from evaluation.measures.matrices import MATRIX_PARTS
from evaluation.measures.same_answer import same_answer

NAMED = ("blank", "shuffled")  # the controls whose sensitivity stands in summary.json by itself


class Sensitivity(TypedDict):
    """How many answers of some rows change under a control."""

    share: float
    low: float | None  # its 95 % interval by image; None where all rows share one image
    high: float | None
    n: int
    images: int  # groups of rows without a common image
    unread: int  # rows that are answered neither with the image nor under the control


def image_sensitivity(
    predictions: Sequence[Prediction], control: Sequence[Prediction]
) -> Sensitivity:
    """Return the share of answers that change under a control, with its interval by image.

    Raises:
        ValueError: the two are not about the same rows in the same order, or there are none.
    """
    if [item.id for item in predictions] != [item.id for item in control] or not control:
        raise ValueError(
            f"{len(predictions)} predictions and {len(control)} of a control are not about the same"
            " rows, at least one: pair them by id"
        )
    pairs = list(zip(predictions, control, strict=True))
    changed = [not same_answer(*pair) for pair in pairs]
    # the rows' own images, as in `evaluation.measures.gains.paired_gain`
    clusters = image_clusters([item.images for item in predictions])
    low, high = image_interval(changed, clusters, share=True)
    return {
        "share": sum(changed) / len(changed),
        "low": low,
        "high": high,
        "n": len(changed),
        "images": len(set(clusters)),
        "unread": sum(one.choice is None and other.choice is None for one, other in pairs),
    }


def mean_by_part(cells: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the mean of the cells' image sensitivity by part of a matrix, every cell the same.

    Nothing where a cell of before has none.

    Args:
        cells: of a matrix, each with its part and its own ``image_sensitivity``.
    """
    if not all("image_sensitivity" in cell for cell in cells):
        return {}
    shares = {
        part: [cell["image_sensitivity"]["share"] for cell in cells if cell["part"] == part]
        for part in MATRIX_PARTS
    }
    shares["all"] = [cell["image_sensitivity"]["share"] for cell in cells]
    return {part: sum(some) / len(some) if some else None for part, some in shares.items()}
