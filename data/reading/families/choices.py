"""The key of a question with options: the letter or the text of one of them, the same everywhere.

A choice of exactly Yes and No is asked in words where nothing in the row shows letters: its options
are a list without them and its key is the word. Else it stays a choice of letters, as it was
published and as others have counted it.
"""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from data.options import same_option
from data.reading.families.option_lists import Options
from data.reading.families.row import Row, RowError
from data.reading.families.values import is_empty
from data.reading.keys import text_of
from rewards.forms.yes_no import OPTIONS as YES_NO

RIGHT_TWICE = "means an option that stands under several letters"  # said of such a bad row

_LABELS = ("answer_label", "label", "Answer_label")
_LETTER = re.compile(r"\(([A-Za-z])\)|([A-Za-z])[).:]?")
_LETTER_AND_TEXT = re.compile(r"(?:\(([A-Z])\)|([A-Z])[).:])\s*(?=\S)")


def choice(
    keys: Mapping[str, Any], options: Options, only_texts: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what `Row` has of the options and the key of a question with options.

    Args:
        keys: what the row gives as the right answer, by where it stands; all must mean the same.
        options: in the order of their letters.
        only_texts: of the keys those that hold no letter, but an option's text.

    Raises:
        RowError: a key that is no option, or two that mean different ones.
    """
    read = {
        name: key_in(name, value, options.texts, is_text=name in only_texts)
        for name, value in keys.items()
    }
    name, *others = read
    letter = read[name][0]
    for other in others:
        if (same := read[other][0]) != letter:
            raise RowError(
                [keys[name], keys[other]],
                f"({name}, {other}) say two things, {letter} and {same} of the options"
                f" {list(options.texts)}: keep the right one",
            )
    form, texts = "letter", options.texts
    shows_letters = options.lettered or any(is_one for _, is_one in read.values())
    if not shows_letters and sorted(map(same_option, texts)) == ["no", "yes"]:
        letter = "AB"[same_option(texts[ascii_uppercase.index(letter)]) == "no"]
        form, texts = "yes_no", YES_NO
    return {"options": texts, "form": form, "answer": letter, "answer_field": name}


def key_in(
    name: str, value: Any, options: Sequence[str], *, is_text: bool = False
) -> tuple[str, bool]:
    """Return the letter of the option that a key names, and whether it names it by the letter.

    The key is a letter ("B", "(b)", ``<answer> B </answer>``, ["B"]), an option's text, or both
    ("B) Lines").

    Args:
        name: where the row has it, for messages.
        value: the key.
        options: in the order of their letters.
        is_text: it is an option's text, also where that is a letter.

    Raises:
        RowError: it is no option, or a letter and a text that are two of them.
    """
    if is_empty(value):
        raise RowError(value, f"({name}) is empty: write the right option")
    if isinstance(value, list | tuple) and len(value) > 1:
        raise RowError(value, f"({name}) names {len(value)} options, and a choice has one")
    try:
        text = text_of(value[0] if isinstance(value, list | tuple) and value else value)
    except ValueError as error:
        raise RowError(value, f"({name}) {error}") from error
    by_text = _letters_of(text, options)
    if not is_text and (match := _LETTER.fullmatch(text)):
        letter = (match[1] or match[2]).upper()
        if letter in ascii_uppercase[: len(options)]:
            return _agreed(name, value, letter, by_text, options), True
    if by_text and name in _LABELS and isinstance(value, int):
        reason = "is a number, which may be a place in the list or a text: write the letter"
        raise RowError(value, f"({name}) {reason}")
    if by_text:
        return by_text[0], False
    if not is_text and (match := _LETTER_AND_TEXT.match(text)):
        letter, rest = match[1] or match[2], _letters_of(text[match.end() :], options)
        if rest and letter in ascii_uppercase[: len(options)]:
            return _agreed(name, value, letter, rest, options), True
    last = ascii_uppercase[len(options) - 1]
    raise RowError(
        value, f"({name}) is no option: the row has options A to {last}, {list(options)}"
    )


def is_letter(value: Any) -> bool:
    """Return whether a key is a letter, or several, which mean nothing without options.

    >>> is_letter("<answer> c </answer>"), is_letter(["B", "C"]), is_letter("B cells"), is_letter(7)
    (True, True, False, False)
    """
    if isinstance(value, list | tuple):
        return bool(value) and all(
            not isinstance(one, list | tuple) and is_letter(one) for one in value
        )
    try:
        return isinstance(value, str) and _LETTER.fullmatch(text_of(value)) is not None
    except ValueError:
        return False


def _agreed(
    name: str, value: Any, letter: str, by_text: Sequence[str], options: Sequence[str]
) -> str:
    if by_text and letter not in by_text:
        raise RowError(
            value,
            f"({name}) says two things: {letter} is {options[ascii_uppercase.index(letter)]!r}, and"
            f" its text is that of {by_text[0]}",
        )
    return letter


def _letters_of(text: str, options: Sequence[str]) -> list[str]:
    wanted = same_option(text)
    pairs = zip(ascii_uppercase, options, strict=False)
    return [letter for letter, option in pairs if same_option(option) == wanted]


def check_right_once(row: dict[str, Any], content: Row) -> None:
    """Raise where the right option stands under two letters: one would be scored as wrong.

    Two wrong options may be one text: whoever chooses either is wrong.
    """
    right = content.options[ascii_uppercase.index(content.answer)]
    twins = _letters_of(right, content.options)
    if len(twins) > 1:
        name = content.answer_field
        raise RowError(
            row.get(name),
            f"({name}) {RIGHT_TWICE} ({', '.join(twins)}): it equals {len(twins)} of the options"
            f" {list(content.options)}, and a letter of its own text would be scored as wrong",
        )
