"""The published row formats, recognised row by row: a new one is a file and an entry.

A family's file has the table of its fields and the function that reads a row. docs/data.md is
written from the tables.
"""

from dataclasses import replace
from typing import Any

from data.reading.families.choices import RIGHT_TWICE, check_right_once
from data.reading.families.columns import COLUMNS
from data.reading.families.conversations import CONVERSATIONS
from data.reading.families.family import Field, RowFamily
from data.reading.families.medical import MEDICAL
from data.reading.families.option_map import OPTION_MAP
from data.reading.families.own import OWN
from data.reading.families.problem import PROBLEM
from data.reading.families.row import Row, RowError
from data.reading.families.triple import TRIPLE
from data.reading.families.unread import check_parts, check_unread
from data.reading.families.values import check_text, is_empty, optional_text
from data.reading.placeholders import placeholder_problem, without_placeholders
from data.reading.row_images import is_base64

# in the order of docs/data.md
FAMILIES = [PROBLEM, COLUMNS, OPTION_MAP, MEDICAL, TRIPLE, CONVERSATIONS, OWN]

# Under which names a row of any family may say what it is about.
MODALITY = ("modality_type", "modality")
QUESTION_TYPE = ("question_type",)
DATASET = ("dataset", "dataset_name")


def read_row(row: Any) -> Row:
    """Return the row's content; a `RowError` names the value and the reason where it has none."""
    if not isinstance(row, dict):
        raise RowError(row, "is not an object with named fields")
    family = family_of(row)
    content = family.read(row)
    question = without_placeholders(content.question, len(content.images))
    if not question.strip():
        raise RowError(content.question, "is a mark for the image and no question: write one")
    rest = {name: value for name, value in row.items() if name not in family.used}
    if not family.is_stated:
        check_unread(rest, content)
    check_parts(row)
    content = replace(
        content,
        question=question,
        family=family.name,
        fields=_without_bytes({**rest, **content.fields}),
    )
    if not content.states_labels:
        content = replace(
            content,
            modality=optional_text(row, MODALITY),
            question_type=optional_text(row, QUESTION_TYPE),
            dataset=optional_text(row, DATASET),
        )
    texts = (content.question, *content.options)
    if problem := placeholder_problem("\n".join(texts), len(content.images)):
        raise RowError(content.question, problem)
    paths = [image for image in content.images if isinstance(image, str)]
    keys = (content.answer, *content.accepted)
    for text in (*texts, content.system, *keys, *paths):
        check_text(text)
    if content.options:
        check_right_once(row, content)
    return content


def family_of(row: dict[str, Any]) -> RowFamily:
    """Return the family of a row; a `RowError` where it fits none, or two.

    Fields that hold nothing count only where no family is known without them: a table's row has all
    of its columns.
    """
    filled = {name for name, value in row.items() if not is_empty(value)}
    fitting = _fitting(filled) or _fitting(row)
    fitting = [family for family in fitting if family.is_stated] or fitting
    names = {family.name for family in fitting}
    fitting = [family for family in fitting if not names.intersection(family.gives_way_to)]
    if not fitting:
        known = " or ".join(f"{family.shown} ({family.name})" for family in FAMILIES)
        raise RowError(sorted(row), f"are the fields of no published format: use {known}")
    if len(fitting) > 1:
        both = " and ".join(f"{family.name} ({family.shown})" for family in fitting)
        raise RowError(sorted(row), f"are fields of {len(fitting)} formats, {both}: keep one's")
    return fitting[0]


def _fitting(names: Any) -> list[RowFamily]:
    return [
        family
        for family in FAMILIES
        if all(any(name in names for name in one) for one in family.known_by)
    ]


def _without_bytes(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields but those that hold an image: examples stay in memory, images do not."""
    return {name: value for name, value in fields.items() if not _holds_bytes(value)}


def _holds_bytes(value: Any) -> bool:
    waiting = [value]  # and no recursion: a row may be nested deeply
    while waiting:
        one = waiting.pop()
        if isinstance(one, bytes) or (isinstance(one, str) and is_base64(one) and " " not in one):
            return True
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return False


__all__ = ["FAMILIES", "RIGHT_TWICE", "Field", "Row", "RowError", "RowFamily", "family_of",
           "read_row"]  # fmt: skip
