"""Rows in Med-R1's published form, so that they read back exactly as they were meant."""

from collections.abc import Iterable, Iterator
from string import ascii_uppercase
from typing import Any

from data.examples import VQAExample
from data.options import is_lettered
from data.reading.inline import split_options
from data.splits.pool import PoolRow
from process.storage import finite_or_null, json_text

NOT_INLINE = "its options cannot be written into the question"
_IS_REWRITTEN = {"problem", "gt_answer"}  # a row of the two formats that are written as one
_IMAGES = ("image", "images", "image_path")
_REPLACED = (*_IMAGES, "problem", "solution", "question", "gt_answer", "options", "answer")


def rewritten_row(row: PoolRow, example: VQAExample) -> dict[str, Any] | None:
    """Return ``example`` as a row: image, problem, solution; None where it would not read back.

    A question without lettered options (yes or no, a text, a number), or of another format, stays
    as it was published.

    The row's other published fields stay (question type, data set ..), except those that Med-R1's
    form replaces. ``original_id`` is the file and row number it came from, or what the row already
    has under this name.
    """
    raw = row.raw
    is_of_another = example is row.example and not _IS_REWRITTEN & raw.keys()
    if is_of_another or not is_lettered(example):
        return {**raw, "original_id": raw.get("original_id", row.example.id)}
    problem = _problem(row, example)
    image = next((raw[name] for name in _IMAGES if raw.get(name)), None)
    if problem is None or (image is None and example.images):
        return None
    published = {
        **({} if image is None else {"image": image}),
        "problem": problem,
        "solution": f"<answer> {example.answer} </answer>",
        "original_id": row.example.id,
    }
    rest = {
        name: value
        for name, value in raw.items()
        if name not in _REPLACED and not name.startswith("option_")
    }
    return published | rest


def rows_text(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the pieces of a JSON list with a row per line; NaN and inf become null."""
    separator = "[\n"
    for row in rows:
        yield separator + json_text(finite_or_null(row)).rstrip("\n")
        separator = ",\n"
    yield "\n]\n"


def _problem(row: PoolRow, example: VQAExample) -> str | None:
    if example is row.example and "problem" in row.raw:
        return row.raw["problem"]
    options = zip(ascii_uppercase, example.options, strict=False)
    listed = ", ".join(f"{letter}){text}" for letter, text in options)
    problem = f"{example.question} {listed}"
    try:
        read = split_options(problem)
    except ValueError:
        return None
    return problem if read == (example.question, example.options) else None
