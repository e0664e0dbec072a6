"""The family of option columns: a table's row with one column for each option.

OmniMedVQA's own files (arXiv:2402.09181) hold ``image_path, question, option_A ..., gt_answer``:
the answer is an option's text.
"""

import re
from collections.abc import Iterator
from string import ascii_uppercase
from typing import Any

from data.reading.families.family import Field, RowFamily
from data.reading.families.pictures import images_in
from data.reading.families.row import Row, RowError
from data.reading.families.values import is_empty, text_in

_OPTION_FIELD = re.compile(r"option[_ ]?[A-Z0-9]{1,2}", re.IGNORECASE)  # or meant as one
_OPTION_NAMES = tuple(f"option_{letter}" for letter in ascii_uppercase)


def _read(row: dict[str, Any]) -> Row:
    """Return what a row of the family says."""
    options = tuple(_lettered_options(row))
    if len(options) < 2:
        raise RowError(list(options), "are too few options: a choice needs option_A and option_B")
    index = _match(text_in(row, ["gt_answer"]), options)
    return Row(
        images=images_in(row, ["image_path"]),
        question=text_in(row, ["question"]).strip(),
        options=options,
        answer=ascii_uppercase[index],
        answer_field="gt_answer",
    )


def _lettered_options(row: dict[str, Any]) -> Iterator[str]:
    """Yield the options' texts; a table's rows with fewer options than others have empty ones."""
    known = dict(zip(_OPTION_NAMES, ascii_uppercase, strict=True))
    others = [name for name in row if _OPTION_FIELD.fullmatch(name) and name not in known]
    strange = [name for name in others if not is_empty(row[name])]
    if strange:
        raise RowError(strange, "name no option: they must be option_A, option_B, ... option_Z")
    present = [letter for name, letter in known.items() if not is_empty(row.get(name))]
    for letter in ascii_uppercase[: ascii_uppercase.index(present[-1]) if present else 0]:
        if letter not in present:
            reason = "empty" if f"option_{letter}" in row else "missing"
            raise RowError(
                [f"option_{one}" for one in present],
                f"are the options, but option_{letter} before the last of them is {reason}:"
                " letter them A, B, C, ...",
            )
    for letter in present:
        yield text_in(row, [f"option_{letter}"]).strip()


def _match(answer: str, options: tuple[str, ...]) -> int:
    """Return the index of the option that equals the answer, letter case ignored.

    Of several it is the first; `read_row` refuses them.
    """
    folded = [option.strip().casefold() for option in options]
    if answer.strip().casefold() not in folded:
        raise RowError(answer, f"(gt_answer) is no option: the options are {options}")
    return folded.index(answer.strip().casefold())


COLUMNS = RowFamily(
    name="option columns",
    published="OmniMedVQA",
    known_by=(("question",), ("gt_answer", *_OPTION_NAMES)),
    fields=(
        Field("image_path", "a path, or a list of paths"),
        Field("question", "the question alone"),
        Field("option_A", "the options, one a field; empty ones behind the last are none",
              aliases=_OPTION_NAMES[1:]),
        Field("gt_answer", "the right option's text"),
    ),
    read=_read,
)  # fmt: skip
