"""What the linear ranker reads of an option: its letters, its words, how it differs from the rest.

Every feature is a text hashed into one of `BUCKETS` columns, so that no vocabulary is kept. Columns
come from CRC-32, not from Python's ``hash``, which differs from process to process.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from data.examples import VQAExample

BUCKETS = 1 << 16
_WORD = re.compile(r"\w+")
_NGRAMS = (2, 3, 4)


@lru_cache(maxsize=1 << 16)
def column(*parts: str | int) -> int:
    """Return the column of a feature, in 0 .. BUCKETS - 1."""
    return zlib.crc32("\x1f".join(map(str, parts)).encode()) % BUCKETS


def option_columns(example: VQAExample) -> list[np.ndarray]:
    """Return one integer array per option: its features' columns, of any length.

    An open question has no options, hence none.
    """
    if not example.options:
        return []
    surfaces = zip(*(_relative(values) for values in _surface_values(example)), strict=True)
    question = " ".join(lower_words(example.question))
    columns = []
    for place, (text, surface) in enumerate(zip(example.options, surfaces, strict=True)):
        row = [
            column("question and option", question, text),
            column("place", place, len(example.options)),
            *(column("surface", number, value) for number, value in enumerate(surface)),
        ]
        columns.append(np.concatenate([_text_columns(text), np.array(row)]))
    return columns


@lru_cache(maxsize=1 << 16)
def lower_words(text: str) -> tuple[str, ...]:
    """Return a text's words in lower case.

    >>> lower_words("No finding (X-ray).")
    ('no', 'finding', 'x', 'ray')
    """
    return tuple(_WORD.findall(text.lower()))


@lru_cache(maxsize=1 << 16)
def _text_columns(text: str) -> np.ndarray:
    """Return the columns of a text alone: the whole, its words, and its character n-grams.

    Case and punctuation stay: ``liver`` beside ``Pancreas`` is a hint of its own.
    """
    found = {column("text", text), *(column("word", word) for word in lower_words(text))}
    bounded = f"^{text}$"
    for size in _NGRAMS:
        found |= {column("ngram", bounded[i : i + size]) for i in range(len(bounded) - size + 1)}
    return np.array(sorted(found))


def _surface_values(example: VQAExample) -> Iterator[list[int]]:
    """Yield, for each property of an option's form, its value for every option."""
    options, question = example.options, set(lower_words(example.question))
    yield [text.endswith(".") for text in options]
    yield [text[:1].islower() for text in options]
    yield [text.isupper() for text in options]
    yield ["(" in text for text in options]
    yield [any(map(str.isdigit, text)) for text in options]
    yield [len(text) for text in options]
    yield [len(lower_words(text)) for text in options]
    yield [len(question.intersection(lower_words(text))) for text in options]
    yield [_shared_words(place, options) for place in range(len(options))]


def _shared_words(place: int, options: Sequence[str]) -> int:
    """Return how many of the other options have a word of this one: distractors often imitate."""
    own = set(lower_words(options[place]))
    others = [lower_words(text) for i, text in enumerate(options) if i != place]
    return sum(not own.isdisjoint(words) for words in others)


def _relative(values: Sequence[int]) -> Sequence[str]:
    """Return how each value stands to the others of its row.

    >>> _relative([3, 5, 3]), _relative([1, 1])
    (['low', 'only high', 'low'], ['equal', 'equal'])
    """
    low, high = min(values), max(values)
    if low == high:
        return ["equal"] * len(values)
    names = dict.fromkeys(values, "middle") | {low: "low", high: "high"}
    return [
        f"only {names[value]}" if values.count(value) == 1 else names[value] for value in values
    ]
