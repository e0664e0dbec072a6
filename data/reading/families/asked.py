"""A question in one text and its key: a choice where the text lists options, an open one else."""

import re
from dataclasses import asdict
from string import ascii_uppercase
from typing import Any

from data.options import same_option
from data.reading.families.row import RowError
from data.reading.families.values import is_empty
from data.reading.inline import split_options
from data.reading.inline_published import OptionsError
from data.reading.keys import key_of, text_of
from rewards.forms import FORMS

_LETTER = re.compile(r"\(?[A-Za-z]\)?[.:]?")


def asked_in(
    row: dict[str, Any], text: str, value: Any, *, text_field: str, answer_field: str
) -> dict[str, Any]:
    """Return question, options, form, answer and what else `Row` has of the key.

    Args:
        row: with what it says of the key besides (data/reading/keys.py).
        text: the question, which may list options.
        value: the key.
        text_field: where the row has the text, for messages.
        answer_field: where it has the key.

    Raises:
        RowError: a broken list of options, a key that is none, or no option.
    """
    if not is_empty(row.get("options")):
        raise RowError(
            row["options"], "(options) stand beside a conversation or an open question: write them"
            " into the question, as 'A)..., B)...'"
        )  # fmt: skip
    try:
        question, options = split_options(text)
    except OptionsError as error:
        if error.is_list:
            raise RowError(text, f"({text_field}) {error}") from error
        question, options = text.strip(), ()
    try:
        if options:
            key = {"form": "letter", "answer": _letter(value, options)}
        else:
            key = asdict(key_of(value, row))
            if _LETTER.fullmatch(key["answer"]) and key["form"] == "text":
                raise ValueError("is a letter, and the question lists no options: write them there")
    except ValueError as error:
        raise RowError(value, f"({answer_field}) {error}") from error
    return {"question": question, "options": options, "answer_field": answer_field} | key


def _letter(value: Any, options: tuple[str, ...]) -> str:
    """Return the letter of the option that a key names, by its letter, its text, or both."""
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    text = text_of(value)
    named = {
        letter
        for letter, option in zip(ascii_uppercase, options, strict=False)
        if same_option(option) == same_option(text)
    }
    if letter := FORMS["letter"].committed(text, options):
        named.add(letter)
    if not named:
        raise ValueError(f"is no option: the options are {list(options)}")
    if len(named) > 1:
        raise ValueError(f"may be option {' or '.join(sorted(named))}: {list(options)}")
    return named.pop()
