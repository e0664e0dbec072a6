"""The family of a question with its options beside it, as an object or a list.

MedVLThinker, MedSynVQA      images, question, options (JSON), answer_label, answer
MedXpertQA on GitHub         images [{image_path}], options [{letter, content}], label ["A"]
MedXpertQA on the hub        images, options {A: ..}, label "A"
MedFrameQA                   image_1, image_2, .., options, correct_answer
"""

from typing import Any

from data.reading.families.choices import choice
from data.reading.families.family import Field, RowFamily
from data.reading.families.option_lists import options_in
from data.reading.families.pictures import images_in
from data.reading.families.row import Row, RowError
from data.reading.families.values import is_empty, text_in
from data.reading.inline import without_options

_IMAGES = ("images", "image", "image_path")
_NUMBERED = tuple(f"image_{number}" for number in range(1, 101))
_KEYS = ("answer_label", "label", "correct_answer", "answer")


def _read(row: dict[str, Any]) -> Row:
    """Return what a row of the family says."""
    options = options_in(row, ["options"])
    text = text_in(row, ["question"]).strip()
    try:
        question = without_options(text, options.texts)
    except ValueError as error:
        raise RowError(text, f"(question) {error}") from error
    return choice(row, question, options, _KEYS, _images(row))


def _images(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return the images of one field, or of image_1, image_2, ..; empty last ones are none."""
    filled = [name for name in _NUMBERED if not is_empty(row.get(name))]
    together = images_in(row, _IMAGES)
    if not filled:
        return together
    if missing := [name for name in _NUMBERED[: len(filled)] if name not in filled]:
        raise RowError(filled, f"are the images, but {missing[0]} before the last of them is not")
    numbered = tuple(image for name in filled for image in images_in(row, [name]))
    if together and together != numbered:
        raise RowError([*together, *numbered], "are images and image_1, ..: keep one of both")
    return numbered


OPTION_MAP = RowFamily(
    name="question and options",
    published="MedVLThinker, MedSynVQA, MedXpertQA, MedFrameQA",
    known_by=(("question",), ("options",), _KEYS),
    fields=(
        Field("images", "a path or a list of them, or the images themselves (below), also one in"
              " each of image_1, image_2, ..; absent or null: none",
              aliases=(*_IMAGES[1:], *_NUMBERED),
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
