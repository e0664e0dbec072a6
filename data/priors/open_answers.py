"""Two priors of open questions: the commonest answer, and that of the question most alike.

Both answer a question with an answer of its form: a text, several labels, a number.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import fsum, log
from typing import Self

import numpy as np

from data.examples import VQAExample
from data.priors.base import TextPrior, check_rows
from data.priors.hashed import lower_words
from rewards.forms import normalised


class Majority:
    """Counts answers; those that say the same (`rewards.forms.normalised`) are one."""

    def __init__(self) -> None:
        """None yet."""
        self._counts: Counter[str] = Counter()
        self._spellings: dict[str, str] = {}

    def add(self, answer: str) -> None:
        """Count one more."""
        key = normalised(answer)
        self._counts[key] += 1
        self._spellings.setdefault(key, answer)

    @property
    def most_common(self) -> str:
        """The commonest answer as it was first written, the first of equally common ones."""
        ((key, _),) = self._counts.most_common(1)
        return self._spellings[key]


class AnswerMajority(TextPrior):
    """Takes the answer that most train rows of the question's form have."""

    def __init__(self) -> None:
        self.answers: dict[str, Majority] = {}  # form -> its answers

    def fit(self, examples: Sequence[VQAExample]) -> Self:
        check_rows(examples, "answer majority")
        self.answers = {}
        for example in examples:
            if example.kind != "choice":
                self.answers.setdefault(example.form, Majority()).add(example.answer)
        return self

    def choose(self, example: VQAExample) -> str | None:
        """Return the answer; None of a choice, and of a form that no train row has."""
        found = self.answers.get(example.form)
        return None if found is None else found.most_common


class NearestQuestion(TextPrior):
    """Takes the commonest answer to the train question, of the same form, that is most alike.

    Alike is the cosine of two questions' words, each weighed by log(1 + questions / questions that
    have the word). The first of equally alike ones; where no word is shared `AnswerMajority`
    decides.
    """

    def __init__(self) -> None:
        self.fallback = AnswerMajority()
        self.questions: dict[str, _Questions] = {}  # form -> its questions

    def fit(self, examples: Sequence[VQAExample]) -> Self:
        check_rows(examples, "nearest question")
        self.fallback.fit(examples)
        answers: dict[str, dict[str, Majority]] = {}
        for example in examples:
            if example.kind != "choice":
                of_form = answers.setdefault(example.form, {})
                of_form.setdefault(example.question, Majority()).add(example.answer)
        self.questions = {form: _Questions(of_form) for form, of_form in answers.items()}
        return self

    def choose(self, example: VQAExample) -> str | None:
        """Return the answer; None of a choice, and of a form that no train row has."""
        if example.form not in self.questions:
            return None
        return self.questions[example.form].answer(example.question) or self.fallback.choose(
            example
        )


class _Questions:
    """The questions of one form with their answers, and where each word stands."""

    def __init__(self, answers: dict[str, Majority]) -> None:
        self._answers = [found.most_common for found in answers.values()]
        words = [set(lower_words(question)) for question in answers]
        places: dict[str, list[int]] = {}
        for place, of_question in enumerate(words):
            for word in of_question:
                places.setdefault(word, []).append(place)
        self._places = {word: np.array(found) for word, found in places.items()}
        self._weights = {word: log(1 + len(words) / len(found)) for word, found in places.items()}
        # summed exactly: of a set the order differs from process to process, and with it roundings
        squares = [fsum(self._weights[word] ** 2 for word in some) for some in words]
        self._norms = np.sqrt(np.maximum(squares, 1e-12))
        self.answer = lru_cache(maxsize=1 << 16)(self._answer)

    def _answer(self, question: str) -> str | None:
        """Return the answer to the question most alike; None where none shares a word.

        The question's own length is the same for all of them, so it is left out.
        """
        shared = np.zeros(len(self._answers))
        for word in sorted(set(lower_words(question)) & self._places.keys()):
            shared[self._places[word]] += self._weights[word] ** 2
        return self._answers[int(np.argmax(shared / self._norms))] if shared.any() else None
