"""The three parts of the embedded data set: lists of examples whose images are drawn on demand."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from data.examples import MODALITIES, QUESTION_TYPES, VQAExample
from data.phantoms.askings import ASKINGS, CELLS
from data.phantoms.attributes import Attributes, generator
from data.phantoms.drawing import draw_phantom
from data.phantoms.pencils import SIZE

# Rows for each of the 40 pairs of modality and question type. The parts draw from disjoint seeds:
# the part's name is in every seed.
ROWS_PER_CELL = {"pretrain": 500, "train": 160, "heldout": 20}
SLICES = (*MODALITIES, *QUESTION_TYPES)
_BLOCK = 4  # consecutive rows of a cell that show every value of every attribute once


@dataclass(frozen=True)
class PhantomImage:
    """An image that is drawn when called, the same at every call; prints as its file's name."""

    part: str
    number: int
    attributes: Attributes

    def __call__(self) -> Image.Image:
        return draw_phantom(self.attributes, generator("image", self.part, self.number))

    @property
    def size(self) -> tuple[int, int]:
        """Its width and height, without drawing it."""
        return SIZE, SIZE

    def __str__(self) -> str:
        return f"phantoms/{self.part}/{self.attributes.modality}-{self.number:05d}.png"


@dataclass(frozen=True)
class CountedImage(PhantomImage):
    """An image with several lesions, each at a site of its own."""

    count: int = 1

    def __call__(self) -> Image.Image:
        rng = generator("image", self.part, self.number)
        sites = rng.permutation(4)[: self.count].tolist()
        return draw_phantom(self.attributes, rng, sites)

    def __str__(self) -> str:
        return f"phantoms/count-{self.part}/{self.attributes.modality}-{self.number:05d}.png"


def phantom_examples(
    part: str,
    slice: str | None = None,
    *,
    asked: str = "letter",
    rows_per_cell: int | None = None,
) -> list[VQAExample]:
    """Return the questions of one part, each about an image of its own.

    Rows go round the 40 cells (modality x question type) in turn, so a larger ``rows_per_cell``
    only appends. In every four rows of a cell each anatomy, finding, grade, site and letter of the
    right option appears once, independently of each other: no prior helps on the held-out part.

    Args:
        part: "pretrain" (what made the embedded model), "train" or "heldout" (800 rows).
        slice: a modality or a question type; its rows keep the ids they have in the whole part.
        asked: "letter", or "open" or "yes_no" (about the same images), or "count" (about images
            with one to four lesions, one cell a modality).
        rows_per_cell: instead of the part's standard number.

    Raises:
        ValueError: an unknown part, slice or way of asking; the message lists the known ones.
    """
    _check_known("part", part, ROWS_PER_CELL)
    _check_known("way of asking", asked, ASKINGS)
    if slice is not None:
        _check_known("slice", slice, SLICES, "" if asked != "letter" else _IN_WORDS)
    cells = CELLS[asked]
    count = ROWS_PER_CELL[part] if rows_per_cell is None else rows_per_cell
    examples: list[VQAExample | None] = [None] * (count * len(cells))
    for cell, (modality, kind) in enumerate(cells):
        if slice in (None, modality, kind):
            for start in range(0, count, _BLOCK):
                block = _draw_block(asked, part, cell, start)
                for row, example in enumerate(block[: count - start], start):
                    examples[row * len(cells) + cell] = example
    found = [example for example in examples if example is not None]
    if not found:
        raise ValueError(f"the phantoms asked about as {asked} have no rows of {slice}")
    return found


_IN_WORDS = (
    f", or ask about them in words: {', '.join(name for name in ASKINGS if name != 'letter')}"
)


def _check_known(what: str, name: str, known: Iterable[str], more: str = "") -> None:
    if name not in known:
        use = f"use one of {', '.join(known)}{more}"
        raise ValueError(f"unknown {what} {name!r} of the phantoms: {use}")


def _draw_block(asked: str, part: str, cell: int, start: int) -> list[VQAExample]:
    modality, kind = CELLS[asked][cell]
    # All but counts are about the same images, which their names stand for.
    key = (asked,) if asked == "count" else ()
    rng = generator("questions", part, modality, kind, start, *key)
    values = rng.permuted([range(_BLOCK)] * 5, axis=1).T.tolist()
    return [
        _draw_example(
            asked,
            part,
            (start + row) * len(CELLS[asked]) + cell,
            Attributes(modality, *facts),
            kind,
            place,
            rng,
        )
        for row, (*facts, place) in enumerate(values)
    ]


def _draw_example(
    asked: str,
    part: str,
    number: int,
    attributes: Attributes,
    kind: str,
    place: int,
    rng: np.random.Generator,
) -> VQAExample:
    image = PhantomImage(part, number, attributes)
    if asked == "count":
        # Many dots are no lesions to count, and of the largest two would touch.
        seen = replace(attributes, finding=attributes.finding % 3, grade=1 + attributes.grade % 2)
        image = CountedImage(part, number, seen, place + 1)
    return VQAExample(
        id=f"phantoms_{part}-{number}"
        if asked == "letter"
        else f"phantoms_{asked}_{part}-{number}",
        images=(image,),
        modality=attributes.modality,
        question_type=kind,
        dataset="phantoms",
        source="phantoms",
        **ASKINGS[asked](kind, attributes, place, rng),
    )
