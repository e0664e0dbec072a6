"""What a form of answer must tell: one file of this folder has it for each."""

from collections.abc import Sequence
from typing import Any, Protocol


class AnswerForm(Protocol):
    """How answers of one form are asked for, read, judged and guessed.

    Attributes:
        name: as `VQAExample.form` holds it.
        kind: of answer, ``choice``, ``text`` or ``number``: what evaluations tell apart.
        lettered: whether its options are shown with letters, one of which is the answer.
        asked_for: stands in the prompt's sentence, "give <asked_for> inside <answer></answer>".
    """

    name: str
    kind: str
    lettered: bool
    asked_for: str

    def committed(self, text: str, options: Sequence[str]) -> str | None:
        """Return the answer that a tag's text commits to, the strict reading, else None.

        It is written in one way: a choice's upper-case letter, a text without white space at its
        ends, a number's digits.
        """

    def forgiving(self, text: str, options: Sequence[str], *, first: bool) -> str | None:
        """Return the answer that a forgiving reader takes a text to give; for reports alone.

        Args:
            text: what stands in an answer tag, or a whole completion without its tags.
            options: of the question, if it has some.
            first: take the first of several answers; else they must agree.
        """

    def is_right(self, choice: str, example: Any) -> bool:
        """Return whether an answer, read by one of the above, is the example's."""

    def likeness(self, choice: str, example: Any) -> float:
        """Return how much of a right answer it is, from 0 to 1: what `token_f1` rewards."""

    def key_problem(self, example: Any) -> str | None:
        """Return why no answer to an example can be right, its key being wrong; None: it is not."""

    def written(self, example: Any) -> str:
        """Return the right answer as a completion writes it inside its answer tag."""

    def chance(self, example: Any) -> float | None:
        """Return how often a guess is right; None where guessing has no rate."""
