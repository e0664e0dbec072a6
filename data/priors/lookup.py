"""Two priors that count: how often an option was right, and which answer a question has."""

from collections import Counter
from collections.abc import Sequence
from typing import Self

from data.examples import VQAExample
from data.priors.base import TextPrior, check_rows


class OptionLookup(TextPrior):
    """Takes the option that was most often right where it was offered.

    score(option) = train rows in which it was right / train rows that offer it, and 0 for one never
    offered. Strings are compared as they stand: letter case and a final period count, since both
    give answers away.
    """

    def __init__(self) -> None:
        self.offered: Counter[str] = Counter()
        self.right: Counter[str] = Counter()

    def fit(self, examples: Sequence[VQAExample]) -> Self:
        check_rows(examples, "lookup")
        # a set: a row that offers one string twice is still one row
        self.offered = Counter(text for example in examples for text in set(example.options))
        self.right = Counter(example.answer_text for example in examples)
        return self

    def scores(self, example: VQAExample) -> list[float]:
        return [
            self.right[text] / self.offered[text] if text in self.offered else 0.0
            for text in example.options
        ]


class QuestionMajority(TextPrior):
    """Takes the offered answer that was most often right for this very question.

    score(option) = train rows with the same question text whose right answer it was. Where no
    option has such a row (the question is new, or its answers are not offered), `OptionLookup` of
    the same train rows decides.
    """

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self.fallback = OptionLookup()

    def fit(self, examples: Sequence[VQAExample]) -> Self:
        check_rows(examples, "question majority")
        self.answers = Counter((example.question, example.answer_text) for example in examples)
        self.fallback.fit(examples)
        return self

    def scores(self, example: VQAExample) -> list[float]:
        counts = [float(self.answers[example.question, text]) for text in example.options]
        return counts if any(counts) else self.fallback.scores(example)
