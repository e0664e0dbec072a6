"""Accuracy against the radius of a blur, with the blank image as the limit."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.report.figures.shared import COLOURS, GREY, new_figure, plain_axes


def decay_curve(points: Sequence[Mapping[str, Any]], blank: Mapping[str, Any] | None) -> Any:
    """Return the curve, with 95 % intervals.

    The axis is logarithmic above the smallest radius, so that 0 has a place on it.

    Args:
        points: `radius`, `accuracy`, `low`, `high` and `chance` each, the smallest radius first,
            which is 0: the row's own image.
        blank: the same of blank images, a line with its interval; None: no line.

    Raises:
        MatplotlibMissingError: saying what to install.
    """
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    _draw_points(axes, points)
    if blank is not None:
        axes.axhspan(
            100 * blank["low"], 100 * blank["high"], color=COLOURS[1], alpha=0.15, linewidth=0
        )
        axes.axhline(100 * blank["accuracy"], color=COLOURS[1], label="images blank")
    if (chance := points[0].get("chance")) is not None:
        axes.axhline(100 * chance, linestyle="--", color=GREY, label="chance")
    radii = [point["radius"] for point in points]
    axes.set_xscale("symlog", base=2, linthresh=radii[1], linscale=1)
    axes.set_xticks(radii, ["own"] + [f"{radius:g}" for radius in radii[1:]])
    axes.minorticks_off()
    axes.set_xlim(-radii[1] / 5, 1.3 * radii[-1])
    axes.set(ylim=(0, 105), xlabel="radius of the blur, pixels that the model sees")
    axes.set_ylabel("accuracy, %")
    axes.set_title(f"blurred images, 95 % intervals (n = {points[0]['n']:,})", fontsize=11)
    axes.legend(loc="best", fontsize=8, edgecolor="none")
    plain_axes(axes)
    return figure


def _draw_points(axes: Any, points: Sequence[Mapping[str, Any]]) -> None:
    shares = [100 * point["accuracy"] for point in points]
    below = [100 * (point["accuracy"] - point["low"]) for point in points]
    above = [100 * (point["high"] - point["accuracy"]) for point in points]
    axes.errorbar(
        [point["radius"] for point in points],
        shares,
        yerr=[[max(0.0, end) for end in ends] for ends in (below, above)],
        marker="o",
        markersize=5,
        capsize=3,
        color=COLOURS[0],
        label="accuracy",
    )
