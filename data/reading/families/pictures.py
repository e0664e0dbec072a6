"""The images of a row as it has them: one or a list, under one of several names, or none."""

import re
from collections.abc import Sequence
from typing import Any

from data.reading.families.row import RowError
from data.reading.families.values import name_in
from data.reading.row_images import image_values

# A list in a table's cell, as JSON or Python writes it: ["a.png", "b.png"].
_QUOTED = r"""(?:"[^"\\]*"|'[^'\\]*')"""
_LIST = re.compile(rf"\s*\[\s*{_QUOTED}(?:\s*,\s*{_QUOTED})*\s*\]\s*")


def images_in(row: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    """Return a row's images, each as row_images.py makes a source of it.

    A field that is missing, null, an empty text or an empty list says that the question has none.

    >>> images_in({"image": "['a.png', 'b.png']"}, ["image", "images"])
    ('a.png', 'b.png')
    """
    name = name_in(row, names)
    value = row.get(name)
    if isinstance(value, str) and _LIST.fullmatch(value):
        return tuple(quoted[1:-1] for quoted in re.findall(_QUOTED, value))
    images = image_values(value)
    for image in images:
        if not (isinstance(image, str) and image.strip()) and not isinstance(image, bytes | dict):
            raise RowError(value, f"({name}) is neither a path nor a list of paths")
    return tuple(images)
