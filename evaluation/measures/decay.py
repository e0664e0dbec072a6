"""How accuracy decays as images are blurred: which detail the answers need."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.answers.prediction import Prediction
from evaluation.answers.redrawn import blur_radius
from evaluation.measures.summary import slice_summary


def summarize_decay(
    plain: Sequence[Prediction], controls: Mapping[str, Sequence[Prediction]]
) -> dict[str, Any]:
    """Return the accuracy against the radius, or nothing where no image was blurred.

        points   of each radius, the smallest first: ``radius`` and the keys of `SliceSummary`;
                 radius 0 is the row's own image
        blank    the same of the blank images, the limit, where they were asked about

    All are of the same rows, those with an image.

    Args:
        plain: the rows as they stand in the data.
        controls: name -> the answers under that control.
    """
    under = {radius: rows for name, rows in controls.items() if (radius := blur_radius(name))}
    if not under:
        return {}
    asked = {item.id for rows in under.values() for item in rows}
    under[0.0] = [item for item in plain if item.id in asked]
    points = [{"radius": radius, **slice_summary(under[radius])} for radius in sorted(under)]
    found: dict[str, Any] = {"points": points}
    if "blank" in controls:
        found["blank"] = slice_summary(controls["blank"])
    return found
