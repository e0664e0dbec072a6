"""The form of a key: what a published answer says about how its question is answered.

    Yes, no, "no."             yes_no    a choice of Yes and No, asked in words
    3, 2.5, "-4"               number    with the row's tolerances
    any other text             text      with the row's further accepted texts
    ["disc"]                             as the one thing that it holds
    ["disc", "line"]           labels    an answer must name all of them, and nothing else

What a row says about the form elsewhere (``answer_type``) is not believed: published files have
yes/no questions that are called open, and the other way round. Only the English words are known as
yes and no; those of other languages are texts.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from rewards.forms import FORMS
from rewards.forms.labels import SEPARATOR
from rewards.forms.yes_no import OPTIONS

ABSOLUTE, RELATIVE = ("tolerance", "absolute_tolerance"), ("relative_tolerance",)  # a row's fields
ACCEPTED = "accepted"
KEY_FIELDS = (*ABSOLUTE, *RELATIVE, ACCEPTED)  # that say more about the key

_MOST_LABELS = 1000
_TAG = re.compile(r"</?(?:think|answer)\b[^<>]*>?", re.ASCII | re.IGNORECASE)
_LETTERS = re.compile(r"\(?[A-H]\)?(?:\s*[,;/&]\s*\(?[A-H]\)?)+\.?")
_OPENING, _CLOSING = "<answer>", "</answer>"


@dataclass(frozen=True)
class Key:
    """A right answer, by the names that `VQAExample` has for its parts."""

    form: str
    answer: str
    options: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    absolute_tolerance: float = 0.0
    relative_tolerance: float = 0.0


def key_of(value: Any, row: Mapping[str, Any] | None = None) -> Key:
    """Return what an answer without options says.

    Args:
        value: a text, a number, or a list of one or more; ``<answer>`` tags are taken off.
        row: its other fields, of which `KEY_FIELDS` are read.

    Raises:
        ValueError: why it is no key, such as "is empty: ..".

    >>> key_of("Yes.").form, key_of(" upper left ").answer, key_of(["line", "disc"]).form
    ('yes_no', 'upper left', 'labels')
    """
    row = row or {}
    texts = _texts(value)
    if _LETTERS.fullmatch(",".join(texts)):
        raise ValueError("names letters, and the question lists no options: write the texts")
    key = _one(texts[0], row) if len(texts) == 1 else _several(texts)
    _check_own_reader(key)
    return key


def untagged(text: str) -> str:
    """Return what stands inside ``<answer>``, else the whole text; no white space at its ends.

    A thought before or behind the tags is no part of it.

    Raises:
        ValueError: tags that are not one pair, or others in what is left.

    >>> untagged("<think>dark</think> <answer> B </answer>"), untagged(" B ")
    ('B', 'B')
    """
    start, end = text.find(_OPENING), text.rfind(_CLOSING)
    if start >= 0 and end >= 0:
        text = text[start + len(_OPENING) : end] if start < end else text
    if found := _TAG.search(text):
        raise ValueError(
            f"holds the tag {found[0][:40]!r}: write the answer alone, or once as"
            " '<answer>..</answer>'"
        )
    return text.strip()


def text_of(value: Any) -> str:
    """Return a text or a number as a key writes it.

    Raises:
        ValueError: it is neither, or empty.

    >>> text_of(4), text_of(0.5), text_of(2.0), text_of(" left ")
    ('4', '0.5', '2', 'left')
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise ValueError("is neither a text nor a number: write the answer as one")
    if isinstance(value, float) and not math.isnan(value):
        if math.isinf(value):
            raise ValueError("is not a finite number: write one that is")
        value = int(value) if value.is_integer() else f"{Decimal(repr(value)):f}"
    text = untagged(str(value)) if value is not None and value == value else ""
    if not text:
        raise ValueError("is empty: write the right answer, or remove the row")
    return text


def _texts(value: Any) -> list[str]:
    """Return the answer's texts; those that say the same thing once."""
    if not isinstance(value, list | tuple):
        return [text_of(value)]
    if len(value) > _MOST_LABELS:
        raise ValueError(f"holds {len(value):,} answers, more than {_MOST_LABELS:,}")
    if not value:
        raise ValueError("is an empty list: write the right answer, or remove the row")
    texts: dict[str, str] = {}
    for one in value:
        text = text_of(one)
        texts.setdefault(text.casefold(), text)
    return list(texts.values())


def _one(text: str, row: Mapping[str, Any]) -> Key:
    if letter := _yes_no(text):
        return Key("yes_no", letter, OPTIONS)
    accepted = _accepted(row)
    number = FORMS["number"].committed(text, ())
    if number is None or accepted:
        return Key("text", text, accepted=accepted)
    return replace(
        Key("number", number),
        absolute_tolerance=_tolerance(row, ABSOLUTE),
        relative_tolerance=_tolerance(row, RELATIVE),
    )


def _several(texts: Sequence[str]) -> Key:
    for text in texts:
        if "," in text:
            raise ValueError(f"holds a label with a comma, which separates labels: {text[:80]!r}")
    if len({letter for text in texts if (letter := _yes_no(text))}) > 1:
        raise ValueError("says both yes and no: keep one of them")
    return Key("labels", SEPARATOR.join(texts))


def _yes_no(text: str) -> str | None:
    return FORMS["yes_no"].committed(text, OPTIONS)


def _accepted(row: Mapping[str, Any]) -> tuple[str, ...]:
    value = row.get(ACCEPTED)
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ValueError(f"has {ACCEPTED}={value!r:.80} beside it, which must be a list of texts")
    return tuple(text_of(one) for one in value)


def _tolerance(row: Mapping[str, Any], names: Sequence[str]) -> float:
    """Return the tolerance that a row gives under one of some names; 0 where it gives none."""
    given = {name: row[name] for name in names if row.get(name) not in (None, "")}
    found = {name: _size(name, value) for name, value in given.items()}
    if len(set(found.values())) > 1:
        raise ValueError(f"has two tolerances, {given}: keep one of them")
    return next(iter(found.values()), 0.0)


def _size(name: str, value: Any) -> float:
    try:
        size = math.nan if isinstance(value, bool | list | dict) else float(value)
    except (TypeError, ValueError, OverflowError):
        size = math.nan
    if not 0 <= size < math.inf:
        raise ValueError(f"has {name}={value!r:.80} beside it, which must be a number from 0")
    return size


def _check_own_reader(key: Key) -> None:
    """Raise for a key that no completion could match, or a reward would be zero for ever."""
    if problem := FORMS[key.form].key_problem(key):
        raise ValueError(f"is a key to which no answer can be right: {problem}")
