"""Whose image a row is shown instead of its own: any of its stratum, or one of another answer.

A row of several images gets all those of a row with as many, so that nothing but what they show is
changed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from data.examples import VQAExample
from data.options import is_lettered, same_option
from data.seeded import seeded_key
from rewards.forms import is_right

Stratum = tuple[str, ...]
Find = Callable[[VQAExample], VQAExample | str]  # a row as its control asks it, or why it has none

# What `shuffled` keeps equal between a row and the one whose image it gets.
SHUFFLE_WITHIN: dict[str, Callable[[VQAExample], Stratum]] = {
    "modality": lambda example: (example.modality,),
    "dataset_question_type": lambda example: (example.dataset, example.question_type),
}


def _subject(example: VQAExample) -> str:
    """Return what two rows must share for one's answer to make the other's wrong.

    Of lettered options that is the question type: a CT of the lung does not make "CT" wrong only
    because its own question was about the organ. "No" or "liver" is an answer to its own question
    alone.
    """
    if is_lettered(example):
        return example.question_type
    return f"{example.form}: {example.question}"


# What `swapped` tries to keep equal, the best first; the subject always stays.
_SWAP_WITHIN: tuple[Callable[[VQAExample], Stratum], ...] = (
    lambda example: ("modality", example.modality, _subject(example)),
    lambda example: ("data set", example.dataset, _subject(example)),
    lambda example: ("subject", _subject(example)),
)


class _Pools:
    """Rows to borrow images from, by stratum, one row per image, in a seeded order."""

    def __init__(
        self, donors: Sequence[VQAExample], stratum: Callable[[VQAExample], Stratum], *parts: object
    ) -> None:
        pools: dict[Stratum, dict[tuple[str, ...], VQAExample]] = {}
        for donor in donors:
            if donor.images:
                pools.setdefault(stratum(donor), {}).setdefault(donor.image_names, donor)
        self._parts = tuple(map(str, parts))
        self._pools = {
            key: [pool[names] for names in sorted(pool, key=self._key)]
            for key, pool in pools.items()
        }

    def pick(
        self, stratum: Stratum, row: VQAExample, fits: Callable[[VQAExample], bool]
    ) -> VQAExample | None:
        """Return a row of the stratum that fits, from a random place on; None where none does.

        The order is random as well, so walking on over rows that do not fit favours none of those
        that do by what they hold.
        """
        pool = self._pools.get(stratum, [])
        start = self._key((row.id,)) % max(len(pool), 1)
        return next((donor for donor in pool[start:] + pool[:start] if fits(donor)), None)

    def _key(self, names: tuple[str, ...]) -> int:
        return seeded_key(*self._parts, *names)


class Shuffler:
    """Gives a row the image of another one of its stratum."""

    def __init__(
        self, donors: Sequence[VQAExample], seed: int, stratum: Callable[[VQAExample], Stratum]
    ) -> None:
        self._stratum = stratum
        self._pools = _Pools(donors, stratum, "shuffled", seed)

    def __call__(self, example: VQAExample) -> VQAExample | str:
        """Return the row with that image, or why there is none."""
        stratum, own = self._stratum(example), set(example.image_names)
        donor = self._pools.pick(
            stratum,
            example,
            lambda other: _as_many(other, example) and own.isdisjoint(other.image_names),
        )
        if donor is None:
            return f"{', '.join(stratum)} holds no other {_images(example)}"
        return replace(example, images=donor.images)


class Swapper:
    """Gives a row the image of one with another right answer, as alike as there is."""

    def __init__(self, donors: Sequence[VQAExample], seed: int) -> None:
        self._pools = [_Pools(donors, stratum, "swapped", seed) for stratum in _SWAP_WITHIN]
        self._answers: dict[tuple[str, str], set[str]] = {}  # (image, subject) -> answers
        for donor in donors:
            answer = same_option(donor.answer_text) if is_lettered(donor) else donor.answer
            for name in donor.image_names:
                self._answers.setdefault((name, _subject(donor)), set()).add(answer)

    def __call__(self, example: VQAExample) -> VQAExample | str:
        """Return the row with that image, or why there is none."""
        for stratum, pools in zip(_SWAP_WITHIN, self._pools, strict=True):
            donor = pools.pick(
                stratum(example), example, lambda other: self._contradicts(other, example)
            )
            if donor is not None:
                return replace(example, images=donor.images)
        if not is_lettered(example):
            return f"no {_images(example)} has another right answer to the same question"
        return f"{example.question_type} holds no {_images(example)} with another right answer"

    def _contradicts(self, donor: VQAExample, example: VQAExample) -> bool:
        """Whether none of the donor's images has the example's answer, or is the example's own."""
        is_own = not set(example.image_names).isdisjoint(donor.image_names)
        if is_own or not _as_many(donor, example):
            return False
        subject = _subject(donor)
        answers = set().union(*(self._answers[name, subject] for name in donor.image_names))
        if is_lettered(example):
            return same_option(example.answer_text) not in answers
        return not any(is_right(answer, example) for answer in answers)


def _as_many(donor: VQAExample, example: VQAExample) -> bool:
    return len(donor.images) == len(example.images)


def _images(example: VQAExample) -> str:
    """Return what a reason calls a row's images."""
    number = len(example.images)
    return "image" if number == 1 else f"row of {number} images"
