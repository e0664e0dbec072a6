"""What a row asks and its right answer: a choice where it has options, an open question else.

Options stand in a field of their own, in the text of the question, or in both: then they must be
the same. Every family of published rows asks here, so that options and keys mean the same in all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from data.reading.families.choices import choice, is_letter
from data.reading.families.option_lists import Options, options_in
from data.reading.families.row import Row, RowError
from data.reading.families.values import is_empty
from data.reading.inline import OptionsError, split_options, without_options
from data.reading.keys import Key, key_of
from data.reading.placeholders import without_placeholders

_OPTIONS = "options"  # the field, where a row has one


def asked_in(
    row: dict[str, Any],
    images: Sequence[Any],
    text: str,
    keys: Mapping[str, Any],
    *,
    text_field: str,
    options: Options | None = None,
    only_texts: Sequence[str] = (),
) -> Row:
    """Return what a row says.

    Args:
        row: with its options, and what it says of the key besides (data/reading/keys.py).
        images: as `Row` takes them.
        text: the question, which may list options.
        keys: what the row gives as the right answer, by where it stands; all must mean the same.
        text_field: where the row has the text, for messages.
        options: of fields that the family knows; None: those of `options`, or of the text.
        only_texts: of the keys those that hold no letter, but an option's text.

    Raises:
        RowError: a broken list of options, two lists that differ, a key that is none, or no option.
    """
    text = without_placeholders(text, len(images)).strip() or text  # nothing else: read_row says so
    if options is None and not is_empty(row.get(_OPTIONS)):
        options = options_in(row, [_OPTIONS])
    if options is not None:
        question = question_alone(text, options.texts, text_field)
        options = Options(options.texts, options.lettered or question != text)
        asked = choice(keys, options, only_texts)
    else:
        try:
            question, listed = split_options(text)
            asked = choice(keys, Options(listed, lettered=True), only_texts)
        except OptionsError as error:
            if error.is_list:
                raise RowError(text, f"({text_field}) {error}") from error
            question = text
            asked = _open(row, text, keys, f"({text_field}) {error}")
    return Row(images=tuple(images), question=question, **asked)


def question_alone(text: str, options: tuple[str, ...], field: str) -> str:
    """Return a question without the options that it lists; a RowError where it lists others."""
    try:
        return without_options(text.strip(), options)
    except ValueError as error:
        raise RowError(text, f"({field}) {error}") from error


def _open(
    row: dict[str, Any], text: str, given: Mapping[str, Any], no_options: str
) -> dict[str, Any]:
    """Return what a row without options has of its key, which decides what is asked for."""
    keys: dict[str, Key] = {}
    for name, value in given.items():
        if is_letter(value):
            raise RowError(text, f"{no_options}; ({name}) is a letter")
        try:
            keys[name] = key_of(value, row)
        except ValueError as error:
            raise RowError(value, f"({name}) {error}") from error
    name, *others = keys
    if any(keys[other] != keys[name] for other in others):
        reason = f"({', '.join(keys)}) say two things: keep the right one"
        raise RowError([*given.values()], reason)
    return {"answer_field": name} | asdict(keys[name])
