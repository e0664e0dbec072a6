"""The curves of a run: metrics.jsonl and the held-out evaluations against the step."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.pictures import COLOURS, GREY, new_figure, plain

_COLUMNS = 3
_SMOOTH_FROM = 40  # steps; below that the values themselves are easy to read
_REWARDS = "reward and its parts"
_PANELS = (
    # title, unit, metrics; a panel without any of its metrics is left away
    ("KL to the start model", "nats per token", ("kl",)),
    ("entropy", "nats per token", ("entropy",)),
    ("completion length", "tokens", ("completion_tokens",)),
    ("cut off; groups without spread", "share", ("truncated", "zero_std_groups")),
)


def training_curves(
    metrics: Sequence[Mapping[str, Any]], evaluations: Mapping[int, Mapping[str, Any]]
) -> Any:
    """Return a Figure with one panel per quantity that the run has.

    From 40 steps on a curve is the mean of the last steps (a 20th of the run), over the values
    themselves in pale. A value that is null leaves a gap.

    Args:
        metrics: the lines of metrics.jsonl.
        evaluations: by step, what eval/step-*.json holds; may be empty.

    Raises:
        ValueError: neither has anything to draw.
        MatplotlibMissingError: saying what to install.
    """
    panels = _panels(metrics)
    count = len(panels) + bool(evaluations)
    if not count:
        raise ValueError("no step and no evaluation to draw: metrics.jsonl and eval/ are empty")
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    figure = new_figure(3.7 * columns, 2.7 * rows)
    places = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
    if evaluations:
        # behind the rewards, where there are any
        index = 1 if panels and panels[0][0] == _REWARDS else 0
        _draw_evaluations(places.pop(index), evaluations)
    for title, unit, names in panels:
        _draw_metrics(places.pop(0), metrics, title, unit, names)
    for axes in places:
        axes.remove()
    return figure


def _panels(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, tuple[str, ...]]]:
    known = {name for row in metrics for name, value in row.items() if value is not None}
    parts = sorted(name for name in known if name.startswith("reward/"))
    first = (_REWARDS, "mean per completion", ("reward", *parts))
    if "reward" not in known:  # the loss of GRPO's first pass is about zero whatever happens
        first = ("loss", "nats per token", ("loss",))
    panels = [
        (title, unit, tuple(name for name in names if name in known))
        for title, unit, names in (first, *_PANELS)
    ]
    return [panel for panel in panels if panel[2]]


def _draw_metrics(
    axes: Any, metrics: Sequence[Mapping[str, Any]], title: str, unit: str, names: Sequence[str]
) -> None:
    steps = [row["step"] for row in metrics]
    window = max(1, len(steps) // 20)
    smooth = len(steps) >= _SMOOTH_FROM
    for name, colour in zip(names, COLOURS, strict=False):
        values = [_number(row.get(name)) for row in metrics]
        if smooth:
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(
            steps,
            running_mean(values, window) if smooth else values,
            color=colour,
            marker="" if smooth else "o",
            markersize=3,
            label=name.removeprefix("reward/"),
        )
    if len(names) > 1:
        _legend(axes)
    axes.set_title(title, fontsize=10)
    axes.set_ylabel(unit)
    # from 0, so that a small change looks small, and with room for the legend above
    low, high = axes.get_ylim()
    axes.set_ylim(min(0, low), 1.02 if unit == "share" else 1.15 * max(high, 0))
    _finish(axes)


def _draw_evaluations(axes: Any, evaluations: Mapping[int, Mapping[str, Any]]) -> None:
    steps = sorted(evaluations)
    last = evaluations[steps[-1]]["overall"]
    seen = {step: evaluations[step]["overall"] for step in steps}
    blind = {
        step: evaluations[step]["blank"]["overall"]
        for step in steps
        if "blank" in evaluations[step]
    }
    _draw_shares(axes, seen, COLOURS[0], "accuracy, 95 % interval")
    if blind:
        _draw_shares(axes, blind, COLOURS[1], "the same with blank images")
    axes.axhline(100 * last["chance"], linestyle="--", color=GREY, label="chance")
    axes.set_ylim(0, 100)
    _legend(axes)
    axes.set_title(f"held-out questions, greedy (n = {last['n']:,})", fontsize=10)
    axes.set_ylabel("%")
    _finish(axes)


def _draw_shares(
    axes: Any, entries: Mapping[int, Mapping[str, float]], colour: str, label: str
) -> None:
    """Draw accuracies in per cent with their intervals, by step."""
    shares = [100 * entry["accuracy"] for entry in entries.values()]
    below = [100 * (entry["accuracy"] - entry["low"]) for entry in entries.values()]
    above = [100 * (entry["high"] - entry["accuracy"]) for entry in entries.values()]
    style = {"marker": "o", "markersize": 4, "capsize": 3, "color": colour, "label": label}
    axes.errorbar(list(entries), shares, yerr=[below, above], **style)


def _finish(axes: Any) -> None:
    axes.set_xlabel("step")
    axes.tick_params(labelbottom=True)  # also where another panel of the column stands below
    axes.xaxis.get_major_locator().set_params(integer=True)
    plain(axes)


def _legend(axes: Any) -> None:
    axes.legend(fontsize=8, edgecolor="none", framealpha=0.8, ncols=2)


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Return at each place the mean of the last ``window`` values, fewer at the start.

    NaN stands for a value that is missing and is left out; where all are missing the mean is NaN.

    >>> running_mean([1.0, 3.0, float("nan"), 5.0], 2)
    [1.0, 2.0, 3.0, 5.0]
    """
    means = []
    for end in range(1, len(values) + 1):
        known = [value for value in values[max(0, end - window) : end] if value == value]
        means.append(sum(known) / len(known) if known else float("nan"))
    return means


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
