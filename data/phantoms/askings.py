"""The ways in which a phantom is asked about: letters, open, yes or no, a count.

Nothing but the image tells the answer in any of them: whatever is drawn for a question is drawn
without looking at the image, and in every four rows of a cell each answer is right equally often.
"""

from collections.abc import Callable
from string import ascii_uppercase
from typing import Any

import numpy as np

from data.examples import MODALITIES, QUESTION_TYPES
from data.phantoms.attributes import Attributes
from data.phantoms.wordings import (
    COUNTED,
    NAMED,
    WORDINGS,
    candidates,
    draw_options,
    right_text,
)

# (question type, what is shown, place, generator) -> the fields of an example that ask and answer;
# the place is 0, 1, 2 and 3 once in every four rows, in random order
Ask = Callable[[str, Attributes, int, np.random.Generator], dict[str, Any]]

_EVERY_TYPE = [(modality, kind) for modality in MODALITIES for kind in QUESTION_TYPES]
COUNT_TYPE = "Other Biological Attributes"


def with_letters(
    kind: str, attributes: Attributes, place: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Return four options, the right one at ``place``."""
    return {
        "question": _drawn(WORDINGS[kind], rng),
        "options": draw_options(kind, attributes, place, rng),
        "answer": ascii_uppercase[place],
    }


def open_ended(
    kind: str, attributes: Attributes, place: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Return the same question without its options: the answer is the right one's text."""
    asked = with_letters(kind, attributes, place, rng)
    return asked | {"options": (), "answer": right_text(kind, attributes), "form": "text"}


def with_yes_or_no(
    kind: str, attributes: Attributes, place: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Return a question that names what is shown, or with two of four places something else."""
    right = right_text(kind, attributes)
    wrong = [text for text in candidates(kind, attributes) if text != right]
    is_right = place < 2
    named = right if is_right else wrong[rng.integers(len(wrong))]
    return {
        "question": _drawn(NAMED[kind], rng).format(named),
        "options": ("Yes", "No"),
        "answer": "A" if is_right else "B",
        "form": "yes_no",
    }


def with_a_count(
    kind: str, attributes: Attributes, place: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Return how many lesions there are: one more than ``place``."""
    return {
        "question": _drawn(COUNTED, rng),
        "options": (),
        "answer": str(place + 1),
        "form": "number",
    }


def _drawn(wordings: tuple[str, ...], rng: np.random.Generator) -> str:
    return wordings[rng.integers(len(wordings))]


ASKINGS: dict[str, Ask] = {
    "letter": with_letters,
    "open": open_ended,
    "yes_no": with_yes_or_no,
    "count": with_a_count,
}
# The pairs of modality and question type that each is about.
CELLS = {
    **dict.fromkeys(ASKINGS, _EVERY_TYPE),
    "count": [(modality, COUNT_TYPE) for modality in MODALITIES],
}
