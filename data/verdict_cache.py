"""What the decoding of image files gave, kept between starts: 80,000 images are decoded once.

    $XDG_CACHE_HOME/groupwise/images-1-pillow-13.0.0.json       (without it: ~/.cache/groupwise)
    {"version": .., "images": {absolute path: [bytes, modified (ns), width, height]}}

An image that stands in a data file's row is known by its content alone (data/held_images.py): the
name stands for the path, and bytes and time are 0.

Only files that could be decoded are in it. A bad verdict is given anew at every start: what is
mended beside the file (a decoder, its permissions, a disk) shows at once, and bad files are few.

The file is replaced whole, so that two processes at once leave one that can be read; what both of
them learned is merged, up to the moment between one's reading and writing. Losing it costs time and
nothing else, so whatever is wrong with it is no error.
"""

import json
import os
from pathlib import Path
from typing import Any

import PIL

from process.bars import warn
from process.regular import read_bytes
from process.storage import replacing

# The decoder has a part in the verdict; the number before it is that of this file's layout.
VERSION = f"1-pillow-{PIL.__version__}"
MOST_IMAGES = 1_000_000  # entries that are kept, the newest; about 150 MB

ImageKey = tuple[str, int, int]  # absolute path, bytes, modified (ns)
Known = dict[str, list[int]]  # absolute path -> bytes, modified (ns), width, height


class VerdictCache:
    """The sizes of images that were decoded before, by path, size and time of the file."""

    def __init__(self) -> None:
        """Read what is there; an unreadable or foreign file is as good as none."""
        self._file = _place()
        self._known = _read(self._file)
        self._new: Known = {}

    def size(self, key: ImageKey) -> tuple[int, int] | None:
        """Return the image's (width, height) if this very one was decoded before."""
        name, *state = key
        entry = self._known.get(name)
        if entry is None or entry[:2] != state:
            return None
        return entry[2], entry[3]

    def add(self, key: ImageKey, size: tuple[int, int]) -> None:
        """Remember an image that was decoded; may be called from any thread."""
        name, *state = key
        self._new[name] = [*state, *size]

    def save(self) -> None:
        """Write what is new, beside what others have written meanwhile; say where it cannot be."""
        if not self._new or self._file is None:
            return
        images = _read(self._file)
        for path in self._new:
            images.pop(path, None)  # the newest stand last
        images |= self._new
        kept = dict(list(images.items())[-MOST_IMAGES:])
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"version": VERSION, "images": kept}, separators=(",", ":"))
            with replacing(self._file, f".{self._file.name}.{os.getpid()}.tmp") as unfinished:
                unfinished.write_text(text, encoding="ascii")  # others stand as \\u escapes
        except OSError as error:
            warn(
                f"the images' verdicts cannot be kept in {self._file} ({error}): the next start"
                " decodes them again; XDG_CACHE_HOME names another folder"
            )
            self._file = None  # said once
        self._known, self._new = kept, {}


def file_key(path: Path, stat: os.stat_result) -> ImageKey:
    """Return what tells a file as it is now."""
    absolute = os.path.abspath(path)  # noqa: PTH100 Path.absolute keeps ".."
    return absolute, stat.st_size, stat.st_mtime_ns


def content_key(name: str) -> ImageKey:
    """Return what tells an image by a name that says all of its content."""
    return name, 0, 0


def _place() -> Path | None:
    folder = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # a relative one is ignored, as the XDG base directory specification says
        base = Path(folder) if Path(folder).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return None
    return base / "groupwise" / f"images-{VERSION}.json"


def _read(file: Path | None) -> Known:
    try:
        content: Any = json.loads(read_bytes(file)) if file is not None else {}
        images = content.get("images", {}) if content.get("version") == VERSION else {}
        return {path: entry for path, entry in images.items() if _is_entry(entry)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 4
        and all(type(number) is int for number in entry)
        and entry[2] > 0 < entry[3]
    )
