"""The three parts of the embedded data set: lists of examples whose images are drawn on demand."""

from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np
from PIL import Image

from data.examples import MODALITIES, QUESTION_TYPES, VQAExample
from data.phantoms.attributes import Attributes, generator
from data.phantoms.drawing import draw_phantom
from data.phantoms.pencils import SIZE
from data.phantoms.wordings import WORDINGS, draw_options

# Rows for each of the 40 pairs of modality and question type. The parts draw from disjoint seeds:
# the part's name is in every seed.
ROWS_PER_CELL = {"pretrain": 500, "train": 160, "heldout": 20}
SLICES = (*MODALITIES, *QUESTION_TYPES)
_CELLS = [(modality, kind) for modality in MODALITIES for kind in QUESTION_TYPES]
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


def phantom_examples(
    part: str, slice: str | None = None, *, rows_per_cell: int | None = None
) -> list[VQAExample]:
    """Return the questions of one part, each about an image of its own.

    Rows go round the 40 cells (modality x question type) in turn, so a larger ``rows_per_cell``
    only appends. In every four rows of a cell each anatomy, finding, grade, site and letter of the
    right option appears once, independently of each other: no prior helps on the held-out part.

    Args:
        part: "pretrain" (what made the embedded model), "train" or "heldout" (800 rows).
        slice: a modality or a question type; its rows keep the ids they have in the whole part.
        rows_per_cell: instead of the part's standard number.

    Raises:
        ValueError: an unknown part or slice; the message lists the known ones.
    """
    if part not in ROWS_PER_CELL:
        raise ValueError(
            f"unknown part {part!r} of the phantoms: use one of {', '.join(ROWS_PER_CELL)}"
        )
    if slice is not None and slice not in SLICES:
        raise ValueError(f"unknown slice {slice!r} of the phantoms: use one of {', '.join(SLICES)}")
    count = ROWS_PER_CELL[part] if rows_per_cell is None else rows_per_cell
    examples: list[VQAExample | None] = [None] * (count * len(_CELLS))
    for cell, (modality, kind) in enumerate(_CELLS):
        if slice in (None, modality, kind):
            for start in range(0, count, _BLOCK):
                block = _draw_block(part, cell, start)
                for row, example in enumerate(block[: count - start], start):
                    examples[row * len(_CELLS) + cell] = example
    return [example for example in examples if example is not None]


def _draw_block(part: str, cell: int, start: int) -> list[VQAExample]:
    modality, kind = _CELLS[cell]
    rng = generator("questions", part, modality, kind, start)
    values = rng.permuted([range(_BLOCK)] * 5, axis=1).T.tolist()
    return [
        _draw_example(
            part,
            (start + row) * len(_CELLS) + cell,
            Attributes(modality, *facts),
            kind,
            letter,
            rng,
        )
        for row, (*facts, letter) in enumerate(values)
    ]


def _draw_example(
    part: str,
    number: int,
    attributes: Attributes,
    kind: str,
    letter: int,
    rng: np.random.Generator,
) -> VQAExample:
    return VQAExample(
        id=f"phantoms_{part}-{number}",
        images=(PhantomImage(part, number, attributes),),
        question=WORDINGS[kind][rng.integers(len(WORDINGS[kind]))],
        options=draw_options(kind, attributes, letter, rng),
        answer=ascii_uppercase[letter],
        modality=attributes.modality,
        question_type=kind,
        dataset="phantoms",
        source="phantoms",
    )
