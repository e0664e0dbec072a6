"""The curves of a run: metrics.jsonl and the held-out evaluations against the step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from evaluation.report.figures.shared import COLOURS, GREY, name_shown, new_figure, plain_axes

Draw = Callable[[Any], None]  # draws one panel into its axes

_COLUMNS = 3
_SMOOTH_FROM = 40  # steps; below that the values themselves are easy to read
_MOST_LINES = 24  # of one panel
_WINDOWS = 20  # of a run: the mean runs over a 20th of its steps
_PANELS = (
    # title, unit, metrics; a panel without any of its metrics is left away
    ("KL to the reference", "nats per token", ("kl",)),
    ("entropy", "nats per token", ("entropy",)),
    ("completion length", "tokens", ("completion_tokens",)),
    ("completions and groups", "share", ("well_formed", "truncated", "zero_std_groups")),
    ("gradient norm, before clipping", "", ("grad_norm",)),
    ("clipped tokens", "share", ("clip_fraction",)),
    ("curriculum: rows of the data", "share", ("curriculum/pass_rate_mean", "curriculum/unseen")),
    (
        "dynamic sampling",
        "groups",
        ("dynamic/drawn_groups", "dynamic/discarded_groups", "dynamic/short"),
    ),
    ("exact gradient: entropy of the answer", "nats", ("exact/answer_entropy",)),
    ("exact gradient: outside the answers", "share", ("exact/mass_outside",)),
)
_PREFIXES = ("reward/", "curriculum/", "dynamic/", "exact/")  # that a panel's title says already
_ZERO_SAYS_NOTHING = "clip_fraction"  # which is 0 in every step of one pass


def smoothing_window(num_steps: int) -> int:
    """Return over how many steps a curve's mean runs; 1: the values are drawn as they are."""
    return num_steps // _WINDOWS if num_steps >= _SMOOTH_FROM else 1


def training_curves(
    metrics: Sequence[Mapping[str, Any]], evaluations: Mapping[int, Mapping[str, Any]]
) -> Any:
    """Return a Figure with one panel per quantity that the run has.

    From 40 steps on a curve is the mean of the last `smoothing_window` steps, over the values
    themselves in pale; the figure's title says so. A value that is null leaves a gap.

    Args:
        metrics: the lines of metrics.jsonl.
        evaluations: by step, what eval/step-*.json holds; may be empty.

    Raises:
        ValueError: neither has anything to draw.
        MatplotlibMissingError: saying what to install.
    """
    panels = [*_reward_panel(metrics), *_heldout_panels(evaluations), *_other_panels(metrics)]
    if not panels:
        raise ValueError("no step and no evaluation to draw: metrics.jsonl and eval/ are empty")
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(3.9 * columns, 2.8 * rows)
    window = smoothing_window(len(metrics))
    if window > 1:
        text = f"bold: mean of the last {window:,} steps; pale: every step"
        figure.suptitle(text, fontsize=9, color=GREY)
    places = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
    for draw in panels:
        draw(places.pop(0))
    for axes in places:
        axes.remove()
    return figure


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Return at each place the mean of the last ``window`` values, fewer at the start.

    NaN stands for a value that is missing and is left out; where all are missing the mean is NaN.

    >>> running_mean([1.0, 3.0, float("nan"), 5.0], 2)
    [1.0, 2.0, 3.0, 5.0]
    """
    array = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(array)
    ends = np.arange(1, len(array) + 1)
    starts = np.maximum(ends - window, 0)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, array, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    count = counts[ends] - counts[starts]
    means = (sums[ends] - sums[starts]) / np.maximum(count, 1)
    return np.where(count > 0, means, np.nan).tolist()


def _reward_panel(metrics: Sequence[Mapping[str, Any]]) -> Iterator[Draw]:
    known = _known(metrics)
    names = ["reward", *sorted(name for name in known if name.startswith("reward/"))]
    if "reward" in known:
        yield partial(_draw_metrics, metrics, "reward and its parts", "per completion", names)
    elif "loss" in known:  # GRPO's is about zero on a first pass whatever happens
        yield partial(_draw_metrics, metrics, "loss", "nats per token", ["loss"])


def _heldout_panels(evaluations: Mapping[int, Mapping[str, Any]]) -> Iterator[Draw]:
    if evaluations:
        yield partial(_draw_heldout, evaluations)
    gains = {step: one["visual_gain"] for step, one in evaluations.items() if "visual_gain" in one}
    if gains:
        yield partial(_draw_gains, gains)
    changes = {
        step: one["image_sensitivity"]["blank"]
        for step, one in evaluations.items()
        if "image_sensitivity" in one
    }
    if changes:
        yield partial(_draw_changes, changes)


def _other_panels(metrics: Sequence[Mapping[str, Any]]) -> Iterator[Draw]:
    known = _known(metrics)
    for title, unit, wanted in _PANELS:
        names = [name for name in wanted if name in known]
        if "kl" in names and "exact/mass_outside" in known:  # of whole answers: --exact-no-think
            unit = "nats per question"
        if names:
            yield partial(_draw_metrics, metrics, title, unit, names)


def _known(metrics: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return what has a value in some step."""
    return {
        name
        for row in metrics
        for name, value in row.items()
        if value is not None and (value != 0 or name != _ZERO_SAYS_NOTHING)
    }


def _draw_metrics(
    metrics: Sequence[Mapping[str, Any]], title: str, unit: str, names: Sequence[str], axes: Any
) -> None:
    steps = [row["step"] for row in metrics]
    window = smoothing_window(len(steps))
    for place, name in enumerate(names[:_MOST_LINES]):
        values = [_number(row.get(name)) for row in metrics]
        colour = COLOURS[place % len(COLOURS)]
        if window > 1:
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(
            steps,
            running_mean(values, window),
            color=colour,
            marker="" if window > 1 else "o",
            markersize=3,
            label=name_shown(_without_prefix(name).replace("_", " ")),
        )
    if len(names) > 1:
        _legend(axes)
    # from 0, so that a small change looks small, and with room for the legend above
    low, high = axes.get_ylim()
    top = 1.25 * max(high, 0) if len(names) > 1 else 1.05 * max(high, 0)
    axes.set_ylim(min(0, low), 1.25 if unit == "share" else top or 1)
    _finish(axes, title, unit)


def _without_prefix(name: str) -> str:
    prefix = next((one for one in _PREFIXES if name.startswith(one)), "")
    return name.removeprefix(prefix)


def _draw_heldout(evaluations: Mapping[int, Mapping[str, Any]], axes: Any) -> None:
    steps = sorted(evaluations)
    last = evaluations[steps[-1]]["overall"]
    seen = {step: evaluations[step]["overall"] for step in steps}
    blind = {
        step: evaluations[step]["blank"]["overall"]
        for step in steps
        if "blank" in evaluations[step]
    }
    _draw_shares(axes, seen, "accuracy", COLOURS[0], "accuracy")
    if blind:
        _draw_shares(axes, blind, "accuracy", COLOURS[1], "images blank")
    if last["chance"] is not None:
        axes.axhline(100 * last["chance"], linestyle="--", color=GREY, label="chance")
    axes.set_ylim(0, 125)  # room for the legend
    axes.set_yticks(range(0, 101, 25))
    _legend(axes, columns=3)
    _finish(axes, f"held-out, greedy, 95 % intervals (n = {last['n']:,})", "%")


def _draw_gains(gains: Mapping[int, Mapping[str, Any]], axes: Any) -> None:
    _draw_shares(axes, {step: gains[step] for step in sorted(gains)}, "gain", COLOURS[2], "gain")
    axes.axhline(0, color=GREY, linewidth=0.8)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -5), max(high, 5))  # small changes look small
    _finish(axes, "visual gain: accuracy minus images blank", "points")


def _draw_changes(changes: Mapping[int, Mapping[str, Any]], axes: Any) -> None:
    shares = {step: changes[step] for step in sorted(changes)}
    _draw_shares(axes, shares, "share", COLOURS[3], "answers that change")
    axes.set_ylim(0, 105)
    _finish(axes, "image sensitivity: answers that change, images blank", "%")


def _draw_shares(
    axes: Any, entries: Mapping[int, Mapping[str, Any]], name: str, colour: str, label: str
) -> None:
    """Draw a share of each step in per cent, with its interval where there is one."""
    shares = [100 * entry[name] for entry in entries.values()]
    ends = [
        (entry[name], entry[name]) if entry["low"] is None else (entry["low"], entry["high"])
        for entry in entries.values()
    ]
    below = [max(0.0, share - 100 * low) for share, (low, _) in zip(shares, ends, strict=True)]
    above = [max(0.0, 100 * high - share) for share, (_, high) in zip(shares, ends, strict=True)]
    style = {"marker": "o", "markersize": 4, "capsize": 3, "color": colour, "label": label}
    axes.errorbar(list(entries), shares, yerr=[below, above], **style)


def _finish(axes: Any, title: str, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=10)
    axes.set_ylabel(unit)
    axes.set_xlabel("step")
    axes.tick_params(labelbottom=True)  # also where another panel of the column stands below
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    plain_axes(axes)


def _legend(axes: Any, columns: int = 3) -> None:
    axes.legend(
        loc="upper left",
        fontsize=7.5,
        edgecolor="none",
        framealpha=0.8,
        ncols=columns,
        columnspacing=0.9,
        handlelength=1.2,
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
