"""Answers and keys as a person reads them: a letter where letters were shown, else the words.

Rows are lines of predictions.jsonl or rollouts.jsonl, anyone's: what is odd in them is shown as it
stands. A line without ``form`` is of a file of before, answered by letter.
"""

from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from rewards.forms import FORMS

Row = Mapping[str, Any]


def lettered_options(row: Row) -> list[str]:
    """Return one line per option that was shown with its letter.

    >>> lettered_options({"options": ["CT", "MRI"]})
    ['A) CT', 'B) MRI']
    >>> lettered_options({"options": ["Yes", "No"], "form": "yes_no"})
    []
    """
    if not _is_lettered(row):
        return []
    options = zip(ascii_uppercase, row["options"], strict=False)
    return [f"{letter}) {text}" for letter, text in options]


def in_words(row: Row, choice: str | None) -> str | None:
    """Return a choice or an answer of the row: a letter, Yes, a text, a number.

    >>> in_words({"options": ["Yes", "No"], "form": "yes_no"}, "B")
    'No'
    >>> in_words({"options": ["CT", "MRI"], "form": "letter"}, "B")
    'B'
    """
    options = row["options"]
    if choice is None or _is_lettered(row) or not options or choice not in ascii_uppercase:
        return choice
    place = ascii_uppercase.find(choice)
    return options[place] if place < len(options) else choice


def key_in_words(row: Row) -> str:
    """Return what is right: the letter, or the words, with all else that is.

    >>> key_in_words({"options": [], "form": "text", "answer": "heart", "accepted": ["the heart"]})
    'heart, or the heart'
    >>> key_in_words({"options": [], "form": "number", "answer": "3", "absolute_tolerance": 0.5})
    '3, give or take 0.5'
    """
    words = [in_words(row, row["answer"]) or ""]
    words += [f"or {text}" for text in row.get("accepted", ())]
    if absolute := row.get("absolute_tolerance"):
        words.append(f"give or take {absolute:g}")
    if relative := row.get("relative_tolerance"):
        words.append(f"give or take {100 * relative:g} %")
    return ", ".join(words)


def _is_lettered(row: Row) -> bool:
    form = FORMS.get(row.get("form", "letter"))
    return form is None or form.lettered
