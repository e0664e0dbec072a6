"""Figures from plain numbers: a matrix as a heatmap, reliability, risk against coverage, and PNG.

Curves of a run: training_curves.py. Every function returns a matplotlib Figure of its own, made
without pyplot, so nothing global is changed and nothing has to be closed. matplotlib is the extra
``report`` and is imported when a figure is asked for.

Colours are Okabe and Ito's, which stay apart for colour-blind readers.
"""

from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from io import BytesIO
from typing import Any

from evaluation.calibration import (
    expected_calibration_error,
    reliability_bins,
    risk_coverage,
    risk_coverage_area,
)
from evaluation.statistics import wilson_interval

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#767676"
DPI = 110
_DARK_CELL = 0.6  # accuracies below it are dark in cividis and take white text


class MatplotlibMissingError(ValueError):
    """A figure was asked for and matplotlib is not installed."""


def new_figure(width: float, height: float) -> Any:
    """Return an empty Figure of so many inches whose layout keeps every text inside.

    Raises:
        MatplotlibMissingError: saying what to install.
    """
    try:
        figure = import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise MatplotlibMissingError(
            f"pictures need matplotlib ({error}): pip install 'groupwise[report]', or"
            " pip install matplotlib"
        ) from error
    return figure(figsize=(width, height), layout="constrained")


def to_png(figure: Any) -> bytes:
    """Return a figure as a PNG file's bytes, the same for the same figure."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def matrix_heatmap(
    matrix: Mapping[str, Any], *, diagonal: Collection[tuple[str, str]] | None = None
) -> Any:
    """Return the accuracies of models (rows) on tests (columns) in per cent, as a coloured table.

    Args:
        matrix: ``models`` and ``tests``, the names in order, and ``cells[model][test]`` with
            ``accuracy`` and, where known, ``low`` and ``high``, shares in [0, 1]; a cell that is
            not there is drawn empty.
        diagonal: (model, test) pairs to frame, in which a model is tested on what it was trained
            on; without it the pairs of one name.

    Raises:
        ValueError: no model or no test.
        MatplotlibMissingError: saying what to install.
    """
    models, tests = list(matrix["models"]), list(matrix["tests"])
    if not models or not tests:
        raise ValueError(f"a matrix of {len(models)} models and {len(tests)} tests has no cells")
    if diagonal is None:
        diagonal = {(name, name) for name in models}
    longest = max(map(len, (*models, *tests)))
    figure = new_figure(2.6 + 0.85 * len(tests) + 0.06 * longest, 2.0 + 0.6 * len(models))
    axes = figure.subplots()
    nan = float("nan")
    cells = [[matrix["cells"].get(model, {}).get(test) for test in tests] for model in models]
    values = [[100 * cell["accuracy"] if cell else nan for cell in row] for row in cells]
    axes.set_facecolor("#eeeeee")  # what a missing cell shows
    image = axes.imshow(values, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    framed = False
    for row, model in enumerate(models):
        for column, test in enumerate(tests):
            _write_cell(axes, row, column, cells[row][column])
            if (model, test) in diagonal:
                _frame_cell(axes, row, column)
                framed = True
    axes.set_xticks(range(len(tests)), tests, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(models)), models)
    axes.set(xlabel="tested on", ylabel="model")
    if framed:
        axes.set_title("framed: tested on what it was trained on", fontsize=10, color=COLOURS[1])
    figure.colorbar(image, ax=axes, label="accuracy, %")
    return figure


def reliability_diagram(
    confidences: Sequence[float], correct: Sequence[bool], *, num_bins: int = 10
) -> Any:
    """Return accuracy against confidence per bin, with counts below and the calibration error.

    Args:
        confidences: (n,) probability of the answer that was chosen, in [0, 1].
        correct: (n,) whether it was right.
        num_bins: equal parts of [0, 1].

    Raises:
        ValueError: what `calibration.reliability_bins` raises.
        MatplotlibMissingError: saying what to install.
    """
    bins = [one for one in reliability_bins(confidences, correct, num_bins=num_bins) if one.n]
    error = expected_calibration_error(confidences, correct, num_bins=num_bins)
    ranges = [wilson_interval(round(one.accuracy * one.n), one.n) for one in bins]
    below = [one.accuracy - low for one, (low, _) in zip(bins, ranges, strict=True)]
    above = [high - one.accuracy for one, (_, high) in zip(bins, ranges, strict=True)]
    figure = new_figure(5.2, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], linestyle="--", color=GREY, label="as sure as right")
    upper.errorbar(
        [one.confidence for one in bins],
        [one.accuracy for one in bins],
        yerr=[below, above],
        marker="o",
        capsize=3,
        color=COLOURS[0],
        label="answers, 95 % interval",
    )
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share right")
    upper.set_title(
        f"expected calibration error {100 * error:.1f} points, n = {len(confidences):,}",
        fontsize=10,
    )
    upper.legend(loc="upper left", frameon=False)
    middles = [(one.low + one.high) / 2 for one in bins]
    bars = lower.bar(middles, [one.n for one in bins], width=0.9 / num_bins, color=COLOURS[5])
    lower.bar_label(bars, [f"{one.n:,}" for one in bins], padding=1, fontsize=8)
    lower.margins(y=0.25)
    lower.set(xlabel="confidence: probability of the likeliest letter", ylabel="answers")
    for axes in (upper, lower):
        plain(axes)
    return figure


def risk_coverage_curve(confidences: Sequence[float], correct: Sequence[bool]) -> Any:
    """Return the share of errors among the surest answers, against how many are kept.

    Args:
        confidences: (n,) in [0, 1].
        correct: (n,) whether the answer was right.

    Raises:
        ValueError: what `calibration.risk_coverage` raises.
        MatplotlibMissingError: saying what to install.
    """
    coverage, risk = risk_coverage(confidences, correct)
    area = risk_coverage_area(confidences, correct)
    figure = new_figure(5.2, 4.2)
    axes = figure.subplots()
    axes.plot(
        [100 * share for share in coverage], [100 * share for share in risk], color=COLOURS[0]
    )
    axes.axhline(100 * risk[-1], linestyle="--", color=GREY)
    axes.annotate(
        f"all answers: {100 * risk[-1]:.1f} % wrong",
        (1, 100 * risk[-1]),
        (2, 3),
        textcoords="offset points",
        color=GREY,
        fontsize=9,
    )
    axes.set(
        xlim=(0, 100), xlabel="answers kept, the surest first, %", ylabel="wrong among them, %"
    )
    axes.set_ylim(0, max(10, 110 * risk[-1], 105 * max(risk)))
    axes.set_title(
        f"mean over all coverages {100 * area:.1f} %, n = {len(confidences):,}", fontsize=10
    )
    plain(axes)
    return figure


def plain(axes: Any) -> None:
    """Leave away what carries no number: two of the four borders; and draw a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)


def _write_cell(axes: Any, row: int, column: int, cell: Mapping[str, float] | None) -> None:
    if not cell:
        axes.text(column, row, "–", ha="center", va="center", color=GREY)
        return
    colour = "white" if cell["accuracy"] < _DARK_CELL else "black"
    value = f"{100 * cell['accuracy']:.1f}"
    has_range = "low" in cell and "high" in cell
    lift = -0.12 if has_range else 0.0
    axes.text(column, row + lift, value, ha="center", va="center", color=colour, fontsize=10)
    if has_range:
        interval = f"{100 * cell['low']:.0f}–{100 * cell['high']:.0f}"
        axes.text(column, row + 0.25, interval, ha="center", va="center", color=colour, fontsize=7)


def _frame_cell(axes: Any, row: int, column: int) -> None:
    rectangle = import_module("matplotlib.patches").Rectangle
    corner = (column - 0.47, row - 0.46)
    axes.add_patch(rectangle(corner, 0.94, 0.92, fill=False, edgecolor=COLOURS[1], linewidth=2.5))
