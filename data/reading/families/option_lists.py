"""A row's options, in whatever form it lists them: their texts in the order of their letters."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from data.reading.families.row import RowError
from data.reading.families.values import is_empty, name_in
from data.reading.keys import text_of

_FORMS = (
    "a list of texts, an object {A: .., B: ..}, the JSON of either, or a list of {letter, content}"
)
# How a letter before an option's text is written; "(R)-thalidomide" has none.
_STYLES = (r"{}\)(?!-[A-Za-z])", r"\({}\)(?!-[A-Za-z])", r"{}\.(?=\s)", "{}:")


@dataclass(frozen=True)
class Options:
    """The options' texts, and whether the row shows their letters."""

    texts: tuple[str, ...]
    lettered: bool


def options_in(row: Mapping[str, Any], names: Sequence[str]) -> Options:
    """Return the options that stand under one of a field's names; a RowError where none do."""
    name = name_in(dict(row), names)
    value = row.get(name)
    listed = _from_json(value, name) if isinstance(value, str) else value
    if isinstance(listed, list | tuple) and any(isinstance(one, dict) for one in listed):
        listed = _by_letter(listed, name)
    if isinstance(listed, dict):
        by_letter = lettered_texts(listed, name)
        check_letters(by_letter, name)
        return Options(tuple(without_letters(by_letter) or by_letter), True)
    if not isinstance(listed, list | tuple):
        raise RowError(value, f"({name}) is no list of options: write {_FORMS}")
    texts = [_text(one, name) for one in listed]
    bare = without_letters(texts)
    if bare is None:
        check_letters(texts, name)
    return Options(checked_count(bare or texts, name), bare is not None)


def lettered_texts(by_letter: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the texts of options with letters; empty ones behind the last are none.

    Args:
        by_letter: in any order.
        name: of the field, or what its fields are called, ``option_{}`` with the letter in it.

    Raises:
        RowError: letters other than A, B, C, ..., one left out, fewer than two options.
    """
    shown = name if "{}" in name else name + " {}"
    texts = {letter: text for letter, text in by_letter.items() if not is_empty(text)}
    if strange := [letter for letter in texts if letter not in tuple(ascii_uppercase)]:
        raise RowError(
            [shown.format(letter) for letter in strange],
            f"name no option: they must be {shown.format('A')}, {shown.format('B')}, ..."
            f" {shown.format('Z')}",
        )
    count = max(map(ascii_uppercase.index, texts), default=-1) + 1
    for letter in ascii_uppercase[:count]:
        if letter not in texts:
            reason = "empty" if letter in by_letter else "missing"
            raise RowError(
                [shown.format(one) for one in sorted(texts)],
                f"are the options, but {shown.format(letter)} before the last of them is {reason}:"
                " letter them A, B, C, ...",
            )
    ordered = [_text(texts[letter], shown.format(letter)) for letter in ascii_uppercase[:count]]
    return checked_count(ordered, name)


def checked_count(texts: Sequence[str], name: str) -> tuple[str, ...]:
    """Return the options if a choice can have so many; a RowError says why it cannot."""
    if len(texts) < 2:
        needs = " and ".join(name.format(one) for one in "AB") if "{}" in name else "two"
        raise RowError(list(texts), f"are too few options: a choice needs {needs}")
    if len(texts) > len(ascii_uppercase):
        raise RowError(list(texts), f"are {len(texts):,} options, and there are 26 letters")
    return tuple(texts)


def without_letters(texts: Sequence[str]) -> list[str] | None:
    """Return the texts without their letters where each begins with its own, in one style.

    >>> without_letters(["A) Disc", "B) Ring"]), without_letters(["A. fumigatus", "C. albicans"])
    (['Disc', 'Ring'], None)
    """
    for style in _STYLES:
        marks = [re.compile(style.format(letter) + r"\s*(?=\S)") for letter in ascii_uppercase]
        found = [mark.match(text) for mark, text in zip(marks, texts, strict=False)]
        ends = [match.end() for match in found if match]
        if texts and len(ends) == len(texts):
            return [text[end:] for text, end in zip(texts, ends, strict=True)]
    return None


def check_letters(texts: Sequence[str], name: str) -> None:
    """Raise where the options' own letters are all there and stand at other places than they do.

    >>> check_letters(["B) x", "A) y"], "options")
    Traceback (most recent call last):
    data.reading.families.row.RowError: (options) begin with letters in another order: B, A
    """
    for style in _STYLES:
        mark = re.compile(style.format("([A-Z])"))
        letters = [match[1] for text in texts if (match := mark.match(text))]
        expected = list(ascii_uppercase[: len(texts)])
        if letters != expected and sorted(letters) == expected:
            shown = ", ".join(letters)
            raise RowError(list(texts), f"({name}) begin with letters in another order: {shown}")


def _from_json(value: str, name: str) -> Any:
    try:
        return json.loads(value, object_pairs_hook=_object)
    except RecursionError:
        reason = "is nested too deeply"
    except ValueError as error:
        reason = str(error) if isinstance(error, _TwiceError) else "is no JSON"
    raise RowError(value, f"({name}) {reason}: write {_FORMS}")


class _TwiceError(ValueError):
    pass


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    if len(dict(pairs)) < len(pairs):
        raise _TwiceError("has one letter more than once")
    return dict(pairs)


def _by_letter(listed: Sequence[Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in listed:
        if not isinstance(one, dict) or not isinstance(one.get("letter"), str):
            raise RowError(one, f"({name}) is no option: write {_FORMS}")
        if one["letter"] in found:
            raise RowError(one, f"({name}) has the letter {one['letter']} more than once")
        found[one["letter"]] = one.get("content")
    return found


def _text(value: Any, name: str) -> str:
    """Return an option's text; a number is written as one."""
    try:
        return value.strip() if isinstance(value, str) and value.strip() else text_of(value)
    except ValueError as error:
        raise RowError(value, f"({name}) {error}") from error
