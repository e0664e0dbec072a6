"""The few sentences that a reader should not miss."""

from collections.abc import Iterator, Mapping
from typing import Any

from process.tables.numbers import count_and_share, percent


def headlines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield one sentence per finding, the gravest kinds first."""
    pairs, totals = report["pairs"].values(), report["totals"]
    best = [_best(pair) for pair in pairs]
    # an open question is never answered by chance
    chances = [0.0 if pair["chance"] is None else pair["chance"] for pair in pairs]
    known = [pair["chance"] for pair in pairs if pair["chance"] is not None]
    line = f"text alone answers {_span(best)} of the test rows"
    if known:
        line += f" (chance {_span(known)})"
    if max(b - c for b, c in zip(best, chances, strict=True)) > 0.1:
        line += ": an accuracy in-domain means little without a blank-image control"
    yield line
    rows = sum(pair["n"] for pair in pairs)
    seen = sum(pair["images"]["same_image"] for pair in pairs)
    shown = count_and_share(seen, rows)
    yield f"{shown} of {rows:,} test rows show an image of their own train file"
    if report["image_root"] is not None:
        near = sum(pair["images"]["near_duplicate"] for pair in pairs)
        yield f"{count_and_share(near, rows)} show one that is the same or nearly, by content"
    readable = sum(pair["patients"]["readable"] for pair in pairs)
    known = sum(pair["patients"]["in_train"] for pair in pairs)
    if readable:
        seen_too = count_and_share(known, readable)
        yield f"of {readable:,} whose file name gives a patient, {seen_too} have theirs in train"
    across = sum(entry["same_image"] for entry in report["foreign_rows"] if entry["across_axes"])
    if across:
        yield f"{across:,} times a test row's image is in a train file of the other axis"
    if totals["equal_options"]:
        yield f"{totals['equal_options']:,} rows hold two wrong options that are one text"
    if totals["bad_rows"]:
        yield f"{totals['bad_rows']:,} rows cannot be used, and were left out"
    if totals["right_option_repeated"]:
        yield f"in {totals['right_option_repeated']:,} of them the right option stands twice"
    unpaired = set(report["files"]) - {n for p in pairs for n in (p["train"], p["test"])}
    if unpaired:
        yield f"without a partner, so only in part looked at: {', '.join(sorted(unpaired))}"


def _best(pair: Mapping[str, Any]) -> float:
    """Return what the best prior reaches; of closed and open questions each kind's own best."""
    parts = [pair[name] for name in ("closed", "open") if name in pair] or [pair]
    right = (
        part["n"] * max((entry["accuracy"] for entry in part["priors"].values()), default=0.0)
        for part in parts
    )
    return sum(right) / pair["n"]


def _span(values: list[float]) -> str:
    low, high = percent(min(values)), percent(max(values))
    return f"{low} %" if low == high else f"{low} to {high} %"
