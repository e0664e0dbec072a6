"""Whose image a row is shown instead of its own: any of its stratum, or one of another answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from data.examples import VQAExample
from data.options import same_option
from data.seeded import seeded_key

Stratum = tuple[str, ...]
Find = Callable[[VQAExample], VQAExample | str]  # a row as its control asks it, or why it has none

# What `shuffled` keeps equal between a row and the one whose image it gets.
SHUFFLE_WITHIN: dict[str, Callable[[VQAExample], Stratum]] = {
    "modality": lambda example: (example.modality,),
    "dataset_question_type": lambda example: (example.dataset, example.question_type),
}

# What `swapped` tries to keep equal, the best first. The question type always stays: a CT of the
# lung does not make "CT" wrong only because its own question was about the organ.
_SWAP_WITHIN: tuple[Callable[[VQAExample], Stratum], ...] = (
    lambda example: ("modality", example.modality, example.question_type),
    lambda example: ("data set", example.dataset, example.question_type),
    lambda example: ("question type", example.question_type),
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
        donor = self._pools.pick(stratum, example, lambda other: own.isdisjoint(other.image_names))
        if donor is None:
            return f"{', '.join(stratum)} holds no other image"
        return replace(example, images=donor.images)


class Swapper:
    """Gives a row the image of one with another right answer, as alike as there is."""

    def __init__(self, donors: Sequence[VQAExample], seed: int) -> None:
        self._pools = [_Pools(donors, stratum, "swapped", seed) for stratum in _SWAP_WITHIN]
        self._answers: dict[tuple[str, str], set[str]] = {}  # (image, question type) -> answers
        for donor in donors:
            for name in donor.image_names:
                self._answers.setdefault((name, donor.question_type), set()).add(
                    same_option(donor.answer_text)
                )

    def __call__(self, example: VQAExample) -> VQAExample | str:
        """Return the row with that image, or why there is none."""
        for stratum, pools in zip(_SWAP_WITHIN, self._pools, strict=True):
            donor = pools.pick(
                stratum(example), example, lambda other: self._contradicts(other, example)
            )
            if donor is not None:
                return replace(example, images=donor.images)
        return f"{example.question_type} holds no image with another right answer"

    def _contradicts(self, donor: VQAExample, example: VQAExample) -> bool:
        """Whether none of the donor's images has the example's answer, or is the example's own."""
        own, answer = set(example.image_names), same_option(example.answer_text)
        return own.isdisjoint(donor.image_names) and not any(
            answer in self._answers[name, donor.question_type] for name in donor.image_names
        )
