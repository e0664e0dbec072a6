"""Two priors that count: how often an option was right, and which answer a question has."""

from collections import Counter
from collections.abc import Sequence
from typing import Self

from data.examples import VQAExample
from data.priors.base import OptionPrior
from data.priors.open_answers import AnswerMajority, Majority


class OptionLookup(OptionPrior):
    """Takes the option that was most often right where it was offered.

    score(option) = train rows in which it was right / train rows that offer it, and 0 for one never
    offered. Strings are compared as they stand: letter case and a final period count, since both
    give answers away.
    """

    def __init__(self) -> None:
        self.offered: Counter[str] = Counter()
        self.right: Counter[str] = Counter()

    def fit(self, examples: Sequence[VQAExample]) -> Self:
        choices = self.choices_of(examples, "lookup")
        # a set: a row that offers one string twice is still one row
        self.offered = Counter(text for example in choices for text in set(example.options))
        self.right = Counter(example.answer_text for example in choices)
        return self

    def scores(self, example: VQAExample) -> list[float]:
        return [
            self.right[text] / self.offered[text] if text in self.offered else 0.0
            for text in example.options
        ]


class QuestionMajority(OptionPrior):
    """Takes the answer that was most often right for this very question.

    Of a choice: score(option) = train rows with the same question text whose right answer it was.
    Where no option has such a row (the question is new, or its answers are not offered),
    `OptionLookup` of the same train rows decides. Of an open question: the answer that most train
    rows of its form and text have; where there is none, `AnswerMajority` decides.
    """

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self.fallback = OptionLookup()
        self.open_answers: dict[tuple[str, str], Majority] = {}  # (form, question) -> its answers
        self.open_fallback = AnswerMajority()

    def fit(self, examples: Sequence[VQAExample]) -> Self:
        choices = self.choices_of(examples, "question majority")
        self.answers = Counter((example.question, example.answer_text) for example in choices)
        self.fallback.fit(examples)
        self.open_fallback.fit(examples)
        self.open_answers = {}
        for example in examples:
            if example.kind != "choice":
                key = example.form, example.question
                self.open_answers.setdefault(key, Majority()).add(example.answer)
        return self

    def scores(self, example: VQAExample) -> list[float]:
        counts = [float(self.answers[example.question, text]) for text in example.options]
        return counts if any(counts) else self.fallback.scores(example)

    def choose(self, example: VQAExample) -> str | None:
        """Return the answer; see the class."""
        if example.kind == "choice":
            return super().choose(example)
        found = self.open_answers.get((example.form, example.question))
        return self.open_fallback.choose(example) if found is None else found.most_common
