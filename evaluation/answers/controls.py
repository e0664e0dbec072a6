"""Controls: the same questions with an image that cannot help, so that what it helped shows.

    blank       the row's own image in the processor's mean colour, of the same size and tokens
    shuffled    another row's image of the same modality
    no_image    no image at all: no visual token in the prompt
    swapped     the image of a row of the same kind whose right answer is another text

A row that its control cannot be made for is left out and counted by the reason: it never keeps its
own image. Images are told apart by name (a file's path, a drawing's own name). Which image a row
gets depends on the seed, the row's id and the rows to borrow from alone.

A new control is one entry of CONTROLS, at the end: the flag, the asking and the tables take it from
there.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Control:
    """A way to ask every question again with an image that cannot help."""

    name: str  # as --controls takes it and an answer's `control` says it
    shown: str  # in tables, after "image"
    help: str  # what --help says after the name
    finder: Callable[[Sequence[VQAExample], int, str], Find]  # of donors, seed, shuffle_within
    blanks: bool = False  # the images are blanked after they were encoded as they are


@dataclass(frozen=True)
class ControlRows:
    """What one control asks: rows of the evaluation with other images, and why some are missing."""

    name: str
    examples: list[VQAExample]
    impossible: dict[str, int]  # reason -> rows left out


def control_rows(
    name: str,
    examples: Sequence[VQAExample],
    donors: Sequence[VQAExample],
    *,
    seed: int,
    shuffle_within: str = "modality",
) -> ControlRows:
    """Return the examples as a control shows them; ids, questions, options and answers stay.

    Args:
        name: one of CONTROLS. Where it ``blanks``, the one who asks does that after encoding.
        examples: the rows of the evaluation.
        donors: rows whose images may be borrowed, such as the whole file that was sampled.
        seed: of the choice of images.
        shuffle_within: a key of SHUFFLE_WITHIN.

    Raises:
        ValueError: an unknown name, or a control that no row at all can have.
    """
    check_control(name, shuffle_within)
    find = CONTROLS[name].finder(donors, seed, shuffle_within)
    rows, impossible = [], Counter[str]()
    for example in examples:
        found = find(example) if example.images else "the row has no image"
        if isinstance(found, str):
            impossible[found] += 1
        else:
            rows.append(found)
    if not rows:
        reason, _ = impossible.most_common(1)[0]
        raise ValueError(f"control {name} is impossible for every row ({reason}): leave it out")
    return ControlRows(name, rows, dict(impossible))


def check_control(name: str, shuffle_within: str = "modality") -> None:
    """Raise ValueError for an unknown control, or an unknown stratum to shuffle within."""
    if name not in CONTROLS:
        raise ValueError(f"unknown control {name!r}: use one of {', '.join(CONTROLS)}")
    if shuffle_within not in SHUFFLE_WITHIN:
        raise ValueError(
            f"unknown stratum {shuffle_within!r} to shuffle within: use one of"
            f" {', '.join(SHUFFLE_WITHIN)}"
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


class _Shuffler:
    """Gives a row the image of another one of its stratum."""

    def __init__(
        self, donors: Sequence[VQAExample], seed: int, stratum: Callable[[VQAExample], Stratum]
    ) -> None:
        self._stratum = stratum
        self._pools = _Pools(donors, stratum, "shuffled", seed)

    def __call__(self, example: VQAExample) -> VQAExample | str:
        stratum, own = self._stratum(example), set(example.image_names)
        donor = self._pools.pick(stratum, example, lambda other: own.isdisjoint(other.image_names))
        if donor is None:
            return f"{', '.join(stratum)} holds no other image"
        return replace(example, images=donor.images)


class _Swapper:
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


CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        Control(
            "blank",
            shown="blank",
            help="its mean colour, same size",
            finder=lambda _donors, _seed, _within: lambda example: example,
            blanks=True,
        ),
        Control(
            "shuffled",
            shown="shuffled",
            help="another one of the modality",
            finder=lambda donors, seed, within: _Shuffler(donors, seed, SHUFFLE_WITHIN[within]),
        ),
        Control(
            "no_image",
            shown="left out",
            help="none",
            finder=lambda _donors, _seed, _within: lambda example: replace(example, images=()),
        ),
        Control(
            "swapped",
            shown="swapped",
            help="one whose right answer is another",
            finder=lambda donors, seed, _within: _Swapper(donors, seed),
        ),
    )
}
