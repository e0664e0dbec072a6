"""The rows under the main table: controls, orders of the options, text priors."""

from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.answers.controls import control_named, has_gain
from evaluation.answers.prediction import LEAST_MASS
from evaluation.report.summary_text import LABEL, NOT_LETTERED
from process.page import fitted
from process.tables.numbers import percent, percent_range, points, points_range
from process.tables.text import table_lines
from process.tables.value import Cell, Column, Table

SIDES = {"sides": "about left and right", "others": "other questions"}  # of a mirrored image
_COLUMNS = (
    *(LABEL, Column("n", 7), Column("accuracy", 9), Column("95 % range", 12), Column("chance", 7)),
    *(Column("well-formed", 8), Column("gain", 8), Column("95 % range by image", 16)),
)


def extra_table(summary: Mapping[str, Any]) -> str:
    """Return the rows that a summary has beside its slices, or an empty text if it has none."""
    rows = [*_controls(summary), *_orders(summary), *_priors(summary)]
    if not rows:
        return ""
    text = table_lines(Table(_COLUMNS, rows))
    notes = [*_impossible(summary)]
    if "controls" in summary:
        notes.append("gain: accuracy minus the control's on the same rows, in points")
        if summary["controls"].get("flip", {}).get("sides", {}).get("swappable"):
            notes.append("left for right: of answers that named one side, the other being offered")
    if shares := [*_sensitivities(summary)]:
        note = (
            "image sensitivity, the share of answers that change under a control, with its range by"
            f" image: {', '.join(shares)} per cent"
        )
        notes.append(fitted(note))
    return "\n".join([*text, "", *notes] if notes else text)


def unanswered_note(summary: Mapping[str, Any]) -> str:
    """Return how many rows could not be asked, or an empty text."""
    count = summary["overall"].get("unanswered", 0)
    return f"{count:,} rows could not be asked and count as wrong" if count else ""


def images_note(summary: Mapping[str, Any]) -> str:
    """Return the interval by image where rows share images, or an empty text."""
    overall = summary["overall"]
    if "images" not in overall:
        return ""
    if overall["image_low"] is None:
        return "all rows share one image: no interval by image"
    span = percent_range(overall["image_low"], overall["image_high"])
    return (
        f"rows share images: interval by image {span} ({overall['n']:,} rows,"
        f" {overall['images']:,} images)"
    )


def letters_note(summary: Mapping[str, Any]) -> str:
    """Return how far the letters' probabilities were measured, or an empty text without any."""
    found = summary.get("calibration", {})
    if found.get("letter_mass") is None:
        return ""
    note = f"a letter stands behind <answer> with probability {percent(found['letter_mass'])} %"
    if found["little_mass"]:
        note += (
            f"; {found['little_mass']:,} answers under {percent(LEAST_MASS)} % are not measured,"
            " left out of the confidence"
        )
    if others := found.get("not_lettered"):
        note += f"; {others:,} {NOT_LETTERED} have none"
    return note


def _controls(summary: Mapping[str, Any]) -> Iterator[list[Cell]]:
    for name, control in summary.get("controls", {}).items():
        gain = control["gain"]
        span = points_range(gain["low"], gain["high"])
        cells = [*_cells(control["overall"]), percent(control["overall"]["well_formed"])]
        if has_gain(name):
            cells += [points(gain["gain"]), span]
        yield [f"image {control_named(name).shown}", *cells]
        yield from _sides(control)


def _sides(control: Mapping[str, Any]) -> Iterator[list[Cell]]:
    """Yield what a mirrored image makes of questions about sides, and of all others."""
    for kind, title in SIDES.items():
        if kind in control:
            found = control[kind]
            yield [f" {title}", *_cells(found)]
            yield ["  before", f"{found['n']:,}", percent(found["own_accuracy"])]
            yield ["  answer changes", f"{found['n']:,}", percent(found["changes"])]
            if found.get("swappable"):
                yield ["  left for right", f"{found['swappable']:,}", percent(found["swaps"])]


def _sensitivities(summary: Mapping[str, Any]) -> Iterator[str]:
    for name, control in summary.get("controls", {}).items():
        if found := control.get("sensitivity"):  # files of before have none
            span = percent_range(found["low"], found["high"])
            yield f"{name} {percent(found['share'])}" + (f" ({span})" if span else "")


def _orders(summary: Mapping[str, Any]) -> Iterator[list[Cell]]:
    if "permutations" not in summary:
        return
    found = summary["permutations"]
    n = f"{found['n']:,}"
    span = percent_range(found["low"], found["high"])
    yield [f"options in {found['count']} orders", n, percent(found["accuracy"]), span]
    for title, key in (
        ("right under every order", "all_right"),
        ("right under at least one", "any_right"),
        ("chosen text changes", "text_changes"),
    ):
        yield [f" {title}", n, percent(found[key])]
    if found.get("kept_order"):
        yield [" order cannot change", f"{found['kept_order']:,}"]
    if found.get("not_lettered"):
        yield [" options are not lettered", f"{found['not_lettered']:,}"]


def _priors(summary: Mapping[str, Any]) -> Iterator[list[Cell]]:
    priors = summary.get("text_priors", {})
    if priors:
        yield ["text priors (no image)"]
    for name, found in priors.items():
        yield [f" {name}", *_cells(found["prior"])]
        if found.get("left_out"):
            yield ["  rows it has no answer to", f"{found['left_out']:,}"]
        if found.get("fitted_on"):
            yield ["  rows it was fitted on", f"{found['fitted_on']:,}"]
        if found["model_where_wrong"] is not None:
            yield ["  model where it is wrong", *_cells(found["model_where_wrong"])]


def _impossible(summary: Mapping[str, Any]) -> Iterator[str]:
    for name, control in summary.get("controls", {}).items():
        for reason, count in control["impossible"].items():
            yield f"{name}: {count:,} rows left out, {reason}"


def _cells(entry: Mapping[str, float]) -> list[Cell]:
    return [
        f"{entry['n']:,}",
        percent(entry["accuracy"]),
        percent_range(entry["low"], entry["high"]),
        percent(entry["chance"]),
    ]
