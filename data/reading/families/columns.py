"""The family of option columns: a table's row with one column for each option.

OmniMedVQA (arXiv:2402.09181)   image_path, question, option_A .., gt_answer: an option's text
PMC-VQA (arXiv:2305.10415)      Figure_path, Question, Choice A .., Answer: text or letter
VLMEvalKit                      image or image_path, question, A, B, .., answer: a letter
"""

import re
from string import ascii_uppercase
from typing import Any

from data.reading.families.asked import asked_in
from data.reading.families.family import Field, RowFamily
from data.reading.families.option_lists import (
    Options,
    check_letters,
    lettered_texts,
    without_letters,
)
from data.reading.families.pictures import images_in
from data.reading.families.row import Row, RowError
from data.reading.families.values import filled_in, is_empty, name_in, text_in

_STYLES = ("option_{}", "Choice {}", "{}")
_OPTION_FIELD = re.compile(r"(?:option|choice)[_ ]?[A-Z0-9]{1,2}", re.IGNORECASE)  # or meant as one
_NAMES = {style: tuple(style.format(letter) for letter in ascii_uppercase) for style in _STYLES}
_OPTION_NAMES = tuple(name for names in _NAMES.values() for name in names)
_QUESTION = ("question", "Question")
_IMAGES = ("image_path", "Figure_path", "image")
_KEYS = ("gt_answer", "Answer_label", "Answer", "answer")


def _read(row: dict[str, Any]) -> Row:
    """Return what a row of the family says."""
    return asked_in(
        row,
        images_in(row, _IMAGES),
        text_in(row, _QUESTION),
        filled_in(row, _KEYS),
        text_field=name_in(row, _QUESTION),
        options=Options(_options(row), lettered=True),
        only_texts=("gt_answer",),
    )


def _options(row: dict[str, Any]) -> tuple[str, ...]:
    others = [name for name in row if _OPTION_FIELD.fullmatch(name) and name not in _OPTION_NAMES]
    if strange := [name for name in others if not is_empty(row[name])]:
        raise RowError(strange, "name no option: they must be option_A, option_B, ... option_Z")
    named = [style for style in _STYLES if any(not is_empty(row.get(n)) for n in _NAMES[style])]
    if len(named) > 1:
        shown = " and ".join(style.format("A") for style in named)
        raise RowError(sorted(row), f"have two sets of options, {shown}: keep one")
    style = named[0] if named else _STYLES[0]
    texts = {
        letter: row[name]
        for letter, name in zip(ascii_uppercase, _NAMES[style], strict=True)
        if name in row
    }
    found = lettered_texts(texts if style == _STYLES[0] else _unmarked(texts), style)
    check_letters(found, style)
    return found


def _unmarked(texts: dict[str, Any]) -> dict[str, Any]:
    """Return the options without their letters, of which PMC-VQA has one in each, `` A:Liver``."""
    filled = {letter: text.strip() for letter, text in texts.items() if isinstance(text, str)}
    filled = {letter: text for letter, text in filled.items() if text}
    if (bare := without_letters(list(filled.values()))) is not None:
        return texts | dict(zip(filled, bare, strict=True))
    return texts | {
        letter: re.sub(rf"\A{letter}\s*:", "", text).strip() for letter, text in filled.items()
    }


COLUMNS = RowFamily(
    name="option columns",
    published="OmniMedVQA, PMC-VQA, VLMEvalKit",
    known_by=(_QUESTION, ("gt_answer", *_OPTION_NAMES)),
    fields=(
        Field("image_path", "a path or a list of them; `image` may be base64, and is shown if a"
              " path stands beside it", aliases=_IMAGES[1:]),
        Field("question", "the question; options at its end are cut where they are the row's",
              aliases=_QUESTION[1:]),
        Field("option_A", "the options, one a field, as option_A, Choice A or A to Z; a letter at"
              " the beginning of a text is taken off (` A:Liver`); empty ones behind the last are"
              " none", aliases=_OPTION_NAMES[1:], shown="`option_A` .., `Choice A` .., `A` .."),
        Field("gt_answer", "the right option's text; under another name its letter or its text."
              " Where several are there, they must mean the same option", aliases=_KEYS[1:]),
    ),
    read=_read,
)  # fmt: skip
