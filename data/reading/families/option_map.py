"""The family of a question with its options beside it, as an object or a list.

MedVLThinker, MedSynVQA      images, question, options (JSON), answer_label, answer
MedXpertQA on GitHub         images [{image_path}], options [{letter, content}], label ["A"]
MedXpertQA on the hub        images, options {A: ..}, label "A"
MedFrameQA                   image_1, image_2, .., options, correct_answer
"""

from typing import Any

from data.reading.families.asked import asked_in
from data.reading.families.family import Field, RowFamily
from data.reading.families.option_lists import options_in
from data.reading.families.pictures import NUMBERED, images_in
from data.reading.families.row import Row
from data.reading.families.values import filled_in, text_in

_IMAGES = ("images", "image", "image_path")
_KEYS = ("answer_label", "label", "correct_answer", "answer")


def _read(row: dict[str, Any]) -> Row:
    """Return what a row of the family says."""
    return asked_in(
        row,
        images_in(row, _IMAGES),
        text_in(row, ["question"]),
        filled_in(row, _KEYS),
        text_field="question",
        options=options_in(row, ["options"]),
    )


OPTION_MAP = RowFamily(
    name="question and options",
    published="MedVLThinker, MedSynVQA, MedXpertQA, MedFrameQA",
    known_by=(("question",), ("options",), _KEYS),
    fields=(
        Field("images", "a path or a list of them, or the images themselves (below), also one in"
              " each of image_1, image_2, ..; absent or null: none",
              aliases=(*_IMAGES[1:], *NUMBERED),
              shown="`images`, `image`, `image_path`, `image_1` .."),
        Field("question", "the question; the options at its end, `Answer Choices: (A) .. (B) ..`,"
              " are cut where they are those of the row"),
        Field("options", "an object `{A: .., B: ..}`, a list of texts, a list of `{letter,"
              " content}`, or one of them as JSON in a text"),
        Field("answer_label", "the right option's letter or text, also in a list of one; where"
              " several names are there, they must mean the same option", aliases=_KEYS[1:]),
    ),
    read=_read,
    gives_way_to=("problem",),
)  # fmt: skip
