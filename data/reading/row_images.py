"""An image as a row has it: a path, base64, ``{bytes, path}``. One function makes a source of it.

    "ct/0007.png"                               a path under the image root
    {"path": ..}, {"image_path": ..}            one, too
    {"bytes": .., "path": ..}                   the image itself, as parquet files of the hub
                                                 have it; in JSON its bytes are base64
    "iVBORw0KGgo..", "data:image/png;base64,.." the image itself, as base64
    b".."                                       the image itself

Where an image and a path stand side by side, the image is the one that is shown: the path is where
it lay on another machine.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from data.examples import ImageSource
from data.held_images import held_image
from data.reading.image_paths import ImageRoot

# fields of an image that is an object, the first of them that says something
_PATH_FIELDS = ("path", "image_path", "file_name", "image", "url")
_DATA_ADDRESS = re.compile(r"data:[\w.+-]*/?[\w.+-]*((?:;[\w.+-]+(?:=[\w.+-]+)?)*),", re.IGNORECASE)
_ALPHABET = re.compile(r"[A-Za-z0-9+/\s]*={0,2}\s*")
# How the base64 of the formats that are read begins: JPEG, PNG, GIF, WebP, TIFF, JPEG 2000, BMP.
_STARTS = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "SUkqA", "TU0AK", "AAAADGpQIC", "/0//UQ", "Qk")
_SHORTEST = 64  # characters: less is no picture's base64


def image_values(value: Any) -> list[Any]:
    """Return the images that a field holds, one by one, each for `image_source`.

    None, NaN, an empty text and an empty list are no images; a text, an object or bytes are one.

    >>> image_values("a.png"), image_values(["a.png", {"path": "b.png"}]), image_values(None)
    (['a.png'], ['a.png', {'path': 'b.png'}], [])
    """
    if value is None or value != value or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def path_in(value: Any) -> str | None:
    """Return the path under the image root that an image of a row is read from.

    None where the row holds the image itself, or what can be no image.
    """
    if isinstance(value, Mapping):
        if value.get("bytes") is not None:
            return None
        named = (value.get(field) for field in _PATH_FIELDS)
        value = next((one for one in named if one), None)
    if not isinstance(value, str) or not value.strip() or is_base64(value):
        return None
    return value.replace("\\", "/")  # as Windows writes it


def image_source(value: Any, root: ImageRoot) -> ImageSource:
    """Return where one image of a row is read from when it is shown.

    Args:
        value: as the row has it, in one of the forms above.
        root: the folder under which paths begin.

    Raises:
        ValueError: the value is none of these forms, a path leads out of the root, or base64 is
            broken; the text follows the value's name.
        OSError: there is no room for an image that stands in the row.
    """
    if (path := path_in(value)) is not None:
        return root.path(path)
    if isinstance(value, Mapping):
        content = value.get("bytes")
        if content is None:
            named = (value.get(field) for field in _PATH_FIELDS)
            content = next((one for one in named if one), None)
    else:
        content = value
    if isinstance(content, bytes | bytearray | memoryview):
        if not len(content):
            raise ValueError("holds an image of no bytes: write the image, or its path")
        return held_image(bytes(content))
    if isinstance(content, str) and content.strip():
        return held_image(_decoded(content))
    raise ValueError(
        "is no image: write a path, base64, or an object of one or both, {bytes, path}"
    )


def is_held(value: Any) -> bool:
    """Return whether an image of a row is the image itself, whatever it says of its path."""
    if isinstance(value, Mapping):
        return value.get("bytes") is not None
    if isinstance(value, str):
        return is_base64(value)
    return isinstance(value, bytes | bytearray | memoryview)


def is_base64(text: str) -> bool:
    """Return whether a text is an image itself, not the path of one.

    It is where it begins as the base64 of a format that is read and holds nothing else, and where
    it is a data address.

    >>> is_base64("images/9j/a.png"), is_base64("data:image/png;base64,iVBORw0KGgo=")
    (False, True)
    """
    if _DATA_ADDRESS.match(text[:200]):
        return True
    is_one = len(text) >= _SHORTEST and text.startswith(_STARTS)
    return is_one and _ALPHABET.fullmatch(text) is not None


def _decoded(text: str) -> bytes:
    address = _DATA_ADDRESS.match(text[:200])
    if address is not None:
        if not address[1].lower().endswith(";base64"):
            raise ValueError("is a data address that is not base64: write the image as base64")
        text = text[address.end() :]
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"is broken base64 ({error}): was it copied whole?") from None
    if not content:
        raise ValueError("holds an image of no bytes: write the image, or its path")
    return content
