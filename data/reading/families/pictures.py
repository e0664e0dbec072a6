"""The images of a row as it has them: one or a list, under the names that published rows use."""

import re
from collections.abc import Sequence
from typing import Any

from data.reading.families.row import RowError
from data.reading.families.values import is_empty, name_in
from data.reading.row_images import image_values, is_held

# A list in a table's cell, as JSON or Python writes it: ["a.png", "b.png"].
_QUOTED = r"""(?:"[^"\\]*"|'[^'\\]*')"""
_LIST = re.compile(rf"\s*\[\s*{_QUOTED}(?:\s*,\s*{_QUOTED})*\s*\]\s*")

# The names of all families. A row is asked for its own family's first; an image under another
# name is shown all the same, for a question about it means nothing in words alone.
_NAMES = ("image", "images", "image_path", "Figure_path", "img_name", "image_name")
NUMBERED = tuple(f"image_{number}" for number in range(1, 101))


def images_in(row: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    """Return a row's images: of its family's names, of image_1, image_2, .., of any other name.

    An image that stands in the row comes before a path beside it: there it lay on another machine.

    Raises:
        RowError: names or numbered fields that say two things, or what is no image.

    >>> images_in({"image": "['a.png', 'b.png']"}, ["image", "images"])
    ('a.png', 'b.png')
    >>> images_in({"img_name": "a.png"}, ["image", "images"])
    ('a.png',)
    """
    held = [name for name in _NAMES if _are_held(image_values(row.get(name)))]
    images = images_under(row, held or names)
    numbered = _numbered(row)
    if images and numbered and images != numbered:
        raise RowError([*images, *numbered], "are images and image_1, ..: keep one of both")
    return images or numbered or images_under(row, _NAMES)


def images_under(row: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    """Return the images under one of some names, each as row_images.py makes a source of it.

    A field that is missing, null, an empty text or an empty list says that the question has none.
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


def _are_held(images: Sequence[Any]) -> bool:
    return bool(images) and all(map(is_held, images))


def _numbered(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return the images of image_1, image_2, ..; empty last ones are none."""
    filled = [name for name in NUMBERED if name in row and not is_empty(row[name])]
    if missing := [name for name in NUMBERED[: len(filled)] if name not in filled]:
        raise RowError(filled, f"are the images, but {missing[0]} before the last of them is not")
    return tuple(image for name in filled for image in images_under(row, [name]))
