"""What a row says beside what its family reads: options, an image, another official part.

Left alone the first two would change what is asked without a word: a choice would become an open
question, a question about an image one without.
"""

import re
from collections.abc import Mapping
from typing import Any

from data.reading.families.row import Row, RowError
from data.reading.families.values import is_empty
from data.reading.labels import official_split

_OPTIONS = re.compile(r"(?:answer[ _]?)?(?:options|choices)", re.IGNORECASE)
_ONE_OPTION = re.compile(r"(?:option|choice)[ _-]?[a-z0-9]", re.IGNORECASE)
_IMAGE = re.compile(
    r"(?:image|img|picture|figure)s?(?:[ _]?(?:paths?|names?|files?))?", re.IGNORECASE
)


def check_unread(rest: Mapping[str, Any], content: Row) -> None:
    """Raise a RowError where a row without options, or images, has a field that looks like them.

    Args:
        rest: the row's fields that its family has not read.
        content: what the family read.
    """
    filled = {name for name, value in rest.items() if not is_empty(value)}
    if not content.options or content.form == "yes_no":
        found = sorted(name for name in filled if _OPTIONS.fullmatch(name))
        found += sorted(name for name in filled if _ONE_OPTION.fullmatch(name))
        found += ["A", "B"] if {"A", "B"} <= filled else []
        if found:
            raise RowError(
                found, "look like options, and are not read beside these fields: name them options"
            )
    if not content.images and (found := sorted(filter(_is_image, filled))):
        raise RowError(
            found, "look like images, and are not read beside these fields: name them image"
        )


def check_parts(row: Mapping[str, Any]) -> None:
    """Raise a RowError where a row's two official parts are training and test."""
    fields = ("split", "phrase_type")
    if {official_split({name: row.get(name)}) for name in fields} == {"train", "test"}:
        raise RowError(
            [row[name] for name in fields],
            "(split, phrase_type) are two official parts, training and test: keep the right one",
        )


def _is_image(name: str) -> bool:
    return _IMAGE.fullmatch(name) is not None
