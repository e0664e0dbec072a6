"""One value of a row: a text, a field under one of its names, a field that holds nothing."""

from collections.abc import Sequence
from typing import Any

from data.prompts import SPECIAL_TOKEN
from data.reading.families.row import RowError
from data.reading.placeholders import placeholder_problem


def is_empty(value: Any) -> bool:
    """Return whether a field holds nothing; NaN is what a table's empty cell becomes."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, float):
        return value != value
    return value is None or value in ([], {})


def name_in(row: dict[str, Any], names: Sequence[str]) -> str:
    """Return under which of a field's names a row has it, the first name where it has none.

    Raises:
        RowError: under two of them, with two values.
    """
    found = [name for name in names if not is_empty(row.get(name))]
    for name in found[1:]:
        if row[name] != row[found[0]]:
            raise RowError(
                [row[found[0]], row[name]],
                f"({found[0]}, {name}) are two names of one field with two values: keep the right"
                " one",
            )
    return next(iter(found or [name for name in names if name in row]), names[0])


def filled_in(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return what stands under each of some names; where nothing does, under one that is there."""
    filled = {name: row[name] for name in names if not is_empty(row.get(name))}
    return filled or {name: row.get(name) for name in [name_in(row, names)]}


def text_in(row: dict[str, Any], names: Sequence[str]) -> str:
    """Return the text that stands under one of a field's names; a RowError where none does."""
    name = name_in(row, names)
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RowError(value, f"({name}) is not a text, or an empty one")
    return value


def optional_text(row: dict[str, Any], names: Sequence[str]) -> str | None:
    """Return a text that need not be there, None where it is not; a RowError for anything else."""
    name = name_in(row, names)
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise RowError(value, f"({name}) is not a text")
    return value or None


def check_text(text: str) -> None:
    """Raise a RowError for a text that a tokenizer or a file would not keep as it is."""
    if problem := placeholder_problem(text):
        raise RowError(text, problem)
    if found := SPECIAL_TOKEN.search(text):
        raise RowError(text, f"holds {found[0]}, which a tokenizer reads as a special token")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(ascii(text), "holds half a surrogate pair: not valid Unicode") from error
