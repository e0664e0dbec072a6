"""Triples of an image, a question and an answer, and nothing else that is known.

VQA-RAD and PathVQA (flaviagiammarino, on the hub) hold ``image, question, answer``, as many other
sources do. What the answer is decides how the question is asked (data/reading/keys.py).
"""

from typing import Any

from data.reading.families.asked import asked_in
from data.reading.families.family import Field, RowFamily
from data.reading.families.pictures import images_in
from data.reading.families.row import Row
from data.reading.families.values import text_in


def _read(row: dict[str, Any]) -> Row:
    """Return what a row of the family says."""
    keys = {"answer": row.get("answer")}
    return asked_in(
        row,
        images_in(row, ["image", "images"]),
        text_in(row, ["question"]),
        keys,
        text_field="question",
    )


TRIPLE = RowFamily(
    name="triples",
    published="VQA-RAD and PathVQA on the hub",
    known_by=(("question",), ("answer",)),
    fields=(
        Field("image", "a path, or a list; absent or null: a question without an image",
              aliases=("images",)),
        Field("question", "the question; options that it lists make it a choice. A row with a field"
              " `options` is of the family question and options"),
        Field("answer", "yes or no, a number, a text; of a list of several all are asked for"),
    ),
    read=_read,
    gives_way_to=("problem", "option columns", "question and options", "open medical questions"),
)  # fmt: skip
