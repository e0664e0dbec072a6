"""Does the model know when it is right: the reliability diagram and the risk-coverage curve."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.measures.calibration import risk_coverage
from evaluation.measures.statistics import wilson_interval
from evaluation.report.figures.shared import COLOURS, GREY, new_figure, plain_axes
from process.tables.numbers import percent


def reliability_diagram(bins: Sequence[Mapping[str, Any]], *, error: float) -> Any:
    """Return accuracy against confidence per bin, with counts below.

    Args:
        bins: as summary.json's calibration holds them: low, high, n, confidence, accuracy; those
            without answers are left out.
        error: the expected calibration error, for the title.

    Raises:
        ValueError: no bin has an answer.
        MatplotlibMissingError: saying what to install.
    """
    filled = [one for one in bins if one["n"]]
    if not filled:
        raise ValueError("a reliability diagram of no answers has no point")
    shares = [one["accuracy"] for one in filled]
    ranges = [wilson_interval(round(one["accuracy"] * one["n"]), one["n"]) for one in filled]
    below = [share - low for share, (low, _) in zip(shares, ranges, strict=True)]
    above = [high - share for share, (_, high) in zip(shares, ranges, strict=True)]
    figure = new_figure(5.2, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], linestyle="--", color=GREY, label="as sure as right")
    upper.errorbar(
        [one["confidence"] for one in filled],
        shares,
        yerr=[below, above],
        marker="o",
        capsize=3,
        color=COLOURS[0],
        label="answers of a bin, 95 % interval",
    )
    # points at 0 and 1 are common, and would be cut in half by limits of 0 and 1
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="share right")
    count = sum(one["n"] for one in filled)
    title = f"expected calibration error {percent(error)} points, n = {count:,}"
    upper.set_title(title, fontsize=10)
    upper.legend(loc="best", fontsize=9, edgecolor="none", framealpha=0.8)
    middles = [(one["low"] + one["high"]) / 2 for one in filled]
    widths = [0.9 * (one["high"] - one["low"]) for one in filled]
    bars = lower.bar(middles, [one["n"] for one in filled], width=widths, color=COLOURS[5])
    lower.bar_label(bars, [f"{one['n']:,}" for one in filled], padding=1, fontsize=8)
    lower.margins(y=0.3)
    lower.set(xlabel="confidence: probability of the chosen letter", ylabel="answers")
    for axes in (upper, lower):
        plain_axes(axes)
    return figure


def risk_coverage_curve(confidences: Sequence[float], correct: Sequence[bool]) -> Any:
    """Return the share of errors among the surest answers, against how many are kept.

    Args:
        confidences: (n,) probability of the answer that was chosen, in [0, 1].
        correct: (n,) whether it was right.

    Raises:
        ValueError: what `calibration.risk_coverage` raises.
        MatplotlibMissingError: saying what to install.
    """
    coverages, risks = risk_coverage(confidences, correct)
    area, all_wrong = sum(risks) / len(risks), risks[-1]
    figure = new_figure(5.2, 4.2)
    axes = figure.subplots()
    axes.plot(
        [100 * share for share in coverages],
        [100 * share for share in risks],
        color=COLOURS[0],
        label="the surest answers",
    )
    axes.axhline(
        100 * all_wrong,
        linestyle="--",
        color=GREY,
        label=f"all answers: {percent(all_wrong)} % wrong",
    )
    axes.set(xlim=(0, 101), ylim=(0, max(10, 130 * max(risks))))  # room for the legend
    axes.set(xlabel="answers kept, the surest first, %", ylabel="wrong among them, %")
    title = f"mean over all coverages {percent(area)} %, n = {len(risks):,}"
    axes.set_title(title, fontsize=10)
    axes.legend(loc="upper left", fontsize=9, edgecolor="none", framealpha=0.8)
    plain_axes(axes)
    return figure
