"""A linear ranker of options: what a model could learn from the text without ever seeing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Self

import numpy as np

from data.examples import VQAExample
from data.priors.base import OptionPrior
from data.priors.hashed import BUCKETS, option_columns

_EPOCHS = 6
_BATCH = 128  # rows
_RATE = 0.5
_SEED = 0


@dataclass(frozen=True)
class Design:
    """The features of R rows with O options in all and E entries in all, as flat arrays."""

    columns: np.ndarray  # (E,) feature columns, option after option
    option_starts: np.ndarray  # (O + 1,) where an option's entries begin in columns
    row_starts: np.ndarray  # (R + 1,) where a row's options begin


def design_of(examples: Sequence[VQAExample]) -> Design:
    """Return the rows' features; one design serves every ranker that is scored on the rows."""
    options = [columns for example in examples for columns in option_columns(example)]
    return Design(
        np.concatenate(options) if options else np.zeros(0, dtype=np.int64),
        _starts([len(columns) for columns in options]),
        _starts([len(example.options) for example in examples]),
    )


class LinearRanker(OptionPrior):
    """Softmax over a row's options of w . features(option, question, the other options).

    An option's score is the sum of its features' weights over the square root of their number, so
    that long options weigh no more than short ones. The mean of -log p(right option) falls by
    AdaGrad (Duchi et al., 2011) in mini-batches, for a few epochs. Rows are visited in an order
    that a fixed seed gives: the same rows make the same weights.
    """

    def __init__(self) -> None:
        self.weights = np.zeros(BUCKETS)

    def fit(self, examples: Sequence[VQAExample]) -> Self:
        choices = self.choices_of(examples, "linear ranker")
        design = design_of(choices)
        places = np.array([ascii_uppercase.index(example.answer) for example in choices])
        self.weights = np.zeros(BUCKETS)
        squares = np.full(BUCKETS, 1e-8)
        draws = np.random.default_rng(_SEED)
        for _ in range(_EPOCHS):
            for rows in _batches(draws.permutation(len(choices))):
                gradient = self._gradient(_part(design, rows), places[rows])
                squares += gradient**2
                self.weights -= _RATE * gradient / np.sqrt(squares)
        return self

    def scores(self, example: VQAExample) -> list[float]:
        return self._scores(design_of([example])).tolist()

    def choose_all(self, examples: Sequence[VQAExample]) -> list[str | None]:
        return self.choose_design(design_of(examples), examples)

    def choose_design(self, design: Design, examples: Sequence[VQAExample]) -> list[str | None]:
        """Return `choose` of every row, from the design of those rows."""
        if not self.has_choices:
            return [None] * len(examples)
        scores = np.split(self._scores(design), design.row_starts[1:-1])
        return [
            ascii_uppercase[int(row.argmax())] if example.kind == "choice" else None
            for row, example in zip(scores[: len(examples)], examples, strict=True)
        ]

    def _scores(self, design: Design) -> np.ndarray:
        """Return (O,) scores, one per option; every option has at least one feature."""
        if not len(design.columns):
            return np.zeros(0)
        sums = np.add.reduceat(self.weights[design.columns], design.option_starts[:-1])
        return sums / np.sqrt(np.diff(design.option_starts))

    def _gradient(self, design: Design, places: np.ndarray) -> np.ndarray:
        """Return (BUCKETS,), the gradient of the rows' mean -log p(right option)."""
        starts, counts = design.row_starts[:-1], np.diff(design.row_starts)
        scores = self._scores(design)
        scores = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), counts))
        slopes = scores / np.repeat(np.add.reduceat(scores, starts), counts)  # (O,) p - 1[right]
        slopes[starts + places] -= 1
        lengths = np.diff(design.option_starts)
        entries = np.repeat(slopes / np.sqrt(lengths) / len(places), lengths)
        return np.bincount(design.columns, entries, minlength=BUCKETS)


def _batches(order: np.ndarray) -> Iterator[np.ndarray]:
    return (order[i : i + _BATCH] for i in range(0, len(order), _BATCH))


def _part(design: Design, rows: np.ndarray) -> Design:
    """Return the design of some of its rows, in their order."""
    options = _ranges(design.row_starts[rows], design.row_starts[rows + 1])
    begins, ends = design.option_starts[options], design.option_starts[options + 1]
    return Design(
        design.columns[_ranges(begins, ends)],
        _starts(ends - begins),
        _starts(design.row_starts[rows + 1] - design.row_starts[rows]),
    )


def _starts(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _ranges(begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return all the ranges begin .. end - 1, one after the other."""
    lengths = ends - begins
    offsets = np.repeat(begins - _starts(lengths)[:-1], lengths)
    return np.arange(lengths.sum()) + offsets
