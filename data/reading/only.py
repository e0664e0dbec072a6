"""``--only FIELD=VALUE``: which rows are read, by any field that a row has.

    q_lang=en                  the row's own field, whatever its family
    q_lang=en modality=CT      both must hold
    modality=CT modality=MRI   either of one field's values
    modality=MRI               also where the row says "MR" elsewhere, or its file is MRI_test.json
    source.site=A              a field of the object that a field holds
    split=test                 also where VQA-RAD's phrase_type begins with test_
    train:split=train          of the training rows alone; eval:split=test: of those that are asked

Values are compared without letter case and without white space at their ends, numbers by their
value; of a list one member has to be equal. An empty VALUE is a field that is empty or missing.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from data.examples import UNKNOWN, VQAExample
from data.reading.labels import official_split
from process.conditions import split_condition
from process.shown import shown_line

# What an example says in one spelling, whatever the row calls it.
LABELS = ("modality", "question_type", "dataset", "form", "kind")
SPLIT = "split"

_MOST_SEEN = 10_000  # values or fields that are kept for a message
_SHOWN, _SHOWN_CHARACTERS = 10, 60


def conditions_of(texts: Sequence[str], part: str = "") -> dict[str, set[str]]:
    """Return field -> the values that are wanted, as they are compared.

    Args:
        texts: FIELD=VALUE, or PART:FIELD=VALUE, which says nothing of rows of the other part.
        part: which rows it is about.

    Raises:
        ValueError: a text that is neither.

    >>> conditions_of(["q_lang=EN ", "train:split=train"], "eval")
    {'q_lang': {'en'}}
    """
    found: dict[str, set[str]] = {}
    for about, name, value in map(split_condition, texts):
        if about in ("", part):
            found.setdefault(name, set()).update(_wanted(value))
    return found


class Only:
    """The rows that ``--only`` asks for, and what it has seen of the others.

    Attributes:
        texts: as they were given; none asks for every row.
        count: rows that were looked at.
        left_out: how many of them were not asked for.
    """

    def __init__(self, texts: Sequence[str] = (), part: str = "") -> None:
        """Take what was given, see `conditions_of`."""
        self.texts = tuple(texts)
        self.count = self.left_out = 0
        self._wanted = conditions_of(texts, part)
        self._fields: set[str] = set()
        self._seen: dict[str, Counter[str]] = defaultdict(Counter)

    def __str__(self) -> str:
        return " ".join(("--only", *self.texts))

    def note(self) -> str | None:
        """Return how many rows were asked for; None where all are."""
        if not self._wanted:
            return None
        return f"{self} keeps {self.count - self.left_out:,} of {self.count:,} rows"

    def rules_out(self, row: Any) -> bool:
        """Return whether a row, as its file has it, is not asked for; counted then.

        False also where only its example can tell. What is no row with fields is for the reader.
        """
        if not self._wanted or not isinstance(row, Mapping):
            return False
        self.count += 1
        if len(self._fields) < _MOST_SEEN:
            self._fields.update(_names(row))
        own = {name: set(_values(row, name)) for name in self._wanted if name not in LABELS}
        for name, values in own.items():
            self._see(name, values)
        is_out = any(values.isdisjoint(self._wanted[name]) for name, values in own.items())
        self.left_out += is_out
        return is_out

    def keeps(self, row: Any, example: VQAExample) -> bool:
        """Return whether an example is asked for whose row was not ruled out; counted if not."""
        for name in self._wanted:
            if name not in LABELS:
                continue
            values, label = set(_values(row, name)), getattr(example, name)
            if label != UNKNOWN or values == {""}:
                values = (values | {_compared(label)}) - {""}
            self._see(name, values)
            if values.isdisjoint(self._wanted[name]):
                self.left_out += 1
                return False
        return True

    def keeps_drawn(self, example: VQAExample) -> bool:
        """Return whether an example is asked for that stands in no file."""
        return not self.rules_out(example.fields) and self.keeps(example.fields, example)

    def check_some(self, what: str) -> None:
        """Raise a ValueError where no row was asked for, which says what there would be.

        Args:
            what: the rows are, in the message.
        """
        if not self.count:
            return
        unknown = [name for name in self._wanted if name not in LABELS if not any(self._seen[name])]
        if unknown:
            names = ", ".join(sorted({*self._fields, *LABELS}))
            raise ValueError(
                f"{self}: no row of {what} has a field {unknown[0]!r}: use one of"
                f" {_cut(names, 20 * _SHOWN_CHARACTERS)}"
            )
        if self.left_out < self.count:
            return
        seen = {name: self._seen[name] for name in self._wanted if self._seen[name]}
        there = "; ".join(f"{name} is {_counted(values)}" for name, values in seen.items())
        raise ValueError(
            f"{self} keeps none of the {self.count:,} rows of {what}: {there}. Ask for values that"
            " some row has together"
        )

    def _see(self, name: str, values: set[str]) -> None:
        seen = self._seen[name]
        for value in values:
            if len(seen) < _MOST_SEEN or value in seen:
                seen[value] += 1


def _values(row: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield what a row has in a field, as it is compared: one value, or each of a list's."""
    value = _inner(row, name)
    if name == SPLIT:
        value = official_split(row)
    for one in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(one, dict | list | tuple | bytes):
            yield _compared(one)


def _inner(row: Mapping[str, Any], name: str) -> Any:
    """Return a row's field, or where it has none of this name, one of an object that it holds."""
    outer, dot, inner = name.partition(".")
    if name in row or not dot or not isinstance(row.get(outer), Mapping):
        return row.get(name)
    return _inner(row[outer], inner)


def _names(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields that may be asked for; of an object those that it holds."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from (f"{name}.{inner}" for inner in value)
        elif isinstance(name, str):
            yield name


def _wanted(value: str) -> Iterator[str]:
    """Yield how a row may hold a value that is asked for: a number also as numbers are compared.

    >>> list(_wanted("1.0")), list(_wanted("007"))
    (['1.0', '1'], ['007'])
    """
    yield (text := _compared(value))
    if re.fullmatch(r"[+-]?\d*\.\d*|[+-]?\d[\d.]*e[+-]?\d+", text, re.ASCII):
        with suppress(ValueError):
            yield _compared(float(text))


def _compared(value: Any) -> str:
    """Return a value as it is compared.

    >>> [_compared(value) for value in (" OPEN ", 2.0, True, None, float("nan"))]
    ['open', '2', 'true', '', '']
    """
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().casefold()


def _counted(seen: Counter[str]) -> str:
    shown = [
        f"{_cut(value, _SHOWN_CHARACTERS) or 'empty'} ({count:,})"
        for value, count in seen.most_common(_SHOWN)
    ]
    more = [f"and {len(seen) - _SHOWN:,} more"] if len(seen) > _SHOWN else []
    return ", ".join(shown + more)


def _cut(text: str, most: int) -> str:
    text = shown_line(text[: most + 1])
    return text if len(text) <= most else f"{text[: most - 3]}..."
