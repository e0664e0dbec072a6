"""Phantoms with a planted text shortcut, as files: what the shortcut experiment trains on.

Exactly one option of every question is marked. In the training rows it is the right one with a
given probability, otherwise one of the wrong ones; in the held-out rows it is each option equally
often, so that a policy which follows the mark is at chance there, with and without its image.

    period    the marked option ends with a full stop, the others do not
    first     the marked option stands at A
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from typing import Literal, get_args

from data.examples import VQAExample
from data.images import decode
from data.options import permute_options
from data.phantoms import phantom_examples
from data.phantoms.export import image_path
from data.seeded import seeded_key

Mark = Literal["period", "first"]
MARKS: tuple[Mark, ...] = get_args(Mark)


def plant(example: VQAExample, mark: Mark, probability: float) -> VQAExample:
    """Return the example with one option marked, the right one with this probability.

    The choice depends on the example's id alone.

    >>> row = VQAExample("a", (), "Where?", ("left", "right"), "B")
    >>> plant(row, "period", 1.0).options
    ('left', 'right.')
    >>> plant(row, "first", 1.0).options
    ('right', 'left')
    """
    right = ascii_uppercase.index(example.answer)
    marked = right
    if _uniform("is right", example.id) >= probability:
        wrong = [index for index in range(len(example.options)) if index != right]
        marked = wrong[int(_uniform("which", example.id) * len(wrong))]
    if mark == "first":
        order = list(range(len(example.options)))
        order[0], order[marked] = order[marked], order[0]
        return permute_options(example, order)
    options = list(example.options)
    options[marked] += "."
    return replace(example, options=tuple(options))


def marked_letter(options: Sequence[str], mark: Mark) -> str:
    """Return the letter of the marked option."""
    if mark == "first":
        return "A"
    (index,) = (index for index, text in enumerate(options) if text.endswith("."))
    return ascii_uppercase[index]


def write_data(
    directory: Path, mark: Mark, probability: float, rows_per_cell: int | None
) -> tuple[Path, Path]:
    """Write train.json, test.json and their images, unless they are there; return the two files."""
    files = []
    for part, name in (("train", "train.json"), ("heldout", "test.json")):
        file = directory / name
        files.append(file)
        if file.is_file():  # written last, so the images are there as well
            continue
        examples = phantom_examples(part, rows_per_cell=rows_per_cell)
        rows = []
        for example in examples:
            path = directory / image_path(example)
            path.parent.mkdir(parents=True, exist_ok=True)
            decode(example.images[0]).save(path)
            share = probability if part == "train" else 1 / len(example.options)
            rows.append(_row(plant(example, mark, share)))
        file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return files[0], files[1]


def _row(example: VQAExample) -> dict[str, str]:
    """Return the example as OmniMedVQA writes a row, which names modality and question type."""
    options = zip(ascii_uppercase, example.options, strict=False)
    return {
        "dataset": "phantoms",
        "question_id": example.id,
        "question_type": example.question_type,
        "modality_type": example.modality,
        "image_path": image_path(example),
        "question": example.question,
        "gt_answer": example.answer_text,
    } | {f"option_{letter}": text for letter, text in options}


def _uniform(*parts: str) -> float:
    return seeded_key("shortcut", *parts) / 2**64
