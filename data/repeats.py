"""Rows that show and ask what another one does, in one part of the data and across two."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from data.examples import VQAExample
from data.grouping import image_key
from rewards.forms import is_right


@dataclass(frozen=True)
class Repeats:
    """Rows that ask an earlier row's question about its images."""

    same: list[tuple[str, str]]  # ids of the earlier row and the later one: with one key
    contradicting: list[tuple[str, str]]  # with another key


@dataclass(frozen=True)
class Shared:
    """What the rows of one part have of another's."""

    same_image: int  # rows with an image that a row of the other part shows
    same_question: int  # rows that ask a question of the other part about the same images


def asked(example: VQAExample) -> tuple[Hashable, ...]:
    """Return what a row shows and asks: its images, each in one spelling, and its question."""
    return *map(image_key, example.image_names), example.question


def repeats_of(examples: Iterable[VQAExample]) -> Repeats:
    """Return the rows that ask what an earlier row does; options may come in another order."""
    first: dict[Hashable, VQAExample] = {}
    found = Repeats([], [])
    for example in examples:
        earlier = first.setdefault(asked(example), example)
        if earlier is not example:
            pairs = found.same if _same_key(earlier, example) else found.contradicting
            pairs.append((earlier.id, example.id))
    return found


def _same_key(earlier: VQAExample, later: VQAExample) -> bool:
    """Return whether two keys of one question say the same, in whatever way they are written.

    Options may stand in another order; of open questions the one key must answer the other's row.
    """
    if earlier.form != later.form or earlier.kind == "choice":
        return earlier.answer_text == later.answer_text
    return is_right(earlier.answer, later) or is_right(later.answer, earlier)


def shared_by(some: Sequence[VQAExample], others: Sequence[VQAExample]) -> Shared:
    """Return what ``some`` rows have of ``others``."""
    images = {image_key(name) for example in others for name in example.image_names}
    questions = {asked(example) for example in others}
    return Shared(
        same_image=sum(not images.isdisjoint(map(image_key, e.image_names)) for e in some),
        same_question=sum(asked(example) in questions for example in some),
    )
