"""The images of a row as it has them: one or a list, under one of several names, or none."""

from collections.abc import Sequence
from typing import Any

from data.reading.families.row import RowError
from data.reading.families.values import name_in


def images_in(row: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    """Return a row's images: each a path, or what else readers.py can resolve to an image.

    A field that is missing, null or an empty list says that the question has none.
    """
    name = name_in(row, names)
    value = row.get(name)
    if value is None:
        return ()
    images = value if isinstance(value, list) else [value]
    for image in images:
        if not (isinstance(image, str) and image.strip()) and not isinstance(image, bytes | dict):
            raise RowError(value, f"({name}) is neither a path nor a list of paths")
    return tuple(images)
