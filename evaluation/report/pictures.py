"""The images of a report: decoded below one folder, made small, encoded anew inside the page.

A log names its images, and run.json or summary.json the folder that they lie under. Both may be
someone else's, who would like to see what else lies on this disk. So nothing but an image is read,
no byte of a file is copied, nothing above that folder is looked at, and the page says which one it
was. Links that lead out of it are followed only where the user named the folder.
"""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from data.examples import ImageSource
from data.held_images import HeldImage, known_image, named_as_held
from data.images import load_image
from data.reading.image_paths import ImageRoot
from evaluation.report.left_out import LeftOut
from process.called import module_line
from process.regular import real_inside
from process.tables.document import image, paragraph

IMAGES = 4  # of a question
PIXELS = 320  # an image is at most so long and wide


class ReportImages:
    """Shows the images that the rows of one directory name, and remembers where they lay."""

    def __init__(self, named: object, given: Path | None, left_out: LeftOut) -> None:
        """Look at nothing yet.

        Args:
            named: the folder that run.json or summary.json names, as it stands there.
            given: the folder that the user named, instead or because there is none.
            left_out: counts what cannot be shown.
        """
        self._named = named if named and isinstance(named, str) else None
        self._given, self._left_out = given, left_out
        self.folders: set[str] = set()  # that an image was read under

    def parts(self, names: Sequence[str]) -> list[str]:
        """Return a row's images, small, as HTML; a reason for each that cannot be shown."""
        parts = []
        for name in names[:IMAGES]:
            try:
                parts.append(image(thumbnail(self._source(name)), f"image {name}"))
            except ValueError as error:
                self._left_out.add("images", str(error))
                parts.append(paragraph(f"An image is not shown: {error}", "note"))
        if len(names) > IMAGES:
            parts.append(paragraph(f"{len(names) - IMAGES} more images.", "note"))
        return parts

    def note(self) -> str:
        """Return which folder was read, as HTML; nothing where none was."""
        who = "that was named" if self._given is not None else "that the directory itself names"
        return "".join(
            paragraph(f"Images are read under {folder}, the image root {who}.", "note")
            for folder in sorted(self.folders)
        )

    def _source(self, name: str) -> ImageSource:
        return _phantom(name) or _held(name) or self._file(name)

    def _file(self, name: str) -> Path:
        if (folder := self._folder()) is None:
            raise ValueError(f"image {name} lies under a folder that is not known: {_WAY}")
        try:
            path = ImageRoot(folder).path(self._below(name, folder))
            if self._given is None:
                real_inside(path, folder)
        except FileNotFoundError as error:
            raise ValueError(f"image {name} does not exist") from error
        except (ValueError, OSError) as error:
            raise ValueError(f"image {name}: {error}") from error
        self.folders.add(str(folder))
        return path

    def _folder(self) -> Path | None:
        if self._given is not None or self._named is None:
            return self._given
        folder = Path(os.path.abspath(self._named))  # noqa: PTH100 `..` is taken back, too
        if folder.parent == folder:
            raise ValueError(f"the image root that is named is all of the disk, {folder}: {_WAY}")
        return folder

    def _below(self, name: str, folder: Path) -> str:
        """Return a name as it stands under the folder, as far as its text tells."""
        start = "" if self._named is None else f"{self._named.rstrip('/')}/"
        if start and name.startswith(start):
            return name[len(start) :]
        absolute = os.path.abspath(name)  # noqa: PTH100 links are looked at later
        return absolute if Path(absolute).is_relative_to(folder.absolute()) else name


_WAY = "name it with --image-root of python -m evaluation.report"


def thumbnail(source: ImageSource) -> bytes:
    """Return an image as a JPEG of its own, at most PIXELS long and wide.

    Raises:
        ValueError: it cannot be read; it is named.
    """
    picture = load_image(source, image_size=0)
    picture.thumbnail((PIXELS, PIXELS))
    picture.info.clear()  # a comment would go into the new file as it is
    buffer = BytesIO()
    picture.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def _held(name: str) -> HeldImage | None:
    """Return an image that stands in a row of the data, or None where the name is another's.

    Raises:
        ValueError: the row is not at hand: the page is made anew, of a directory alone.
    """
    if not named_as_held(name):
        return None
    if (source := known_image(name)) is None:
        raise ValueError(
            f"image {name} stands in a row of a data file, which a page made anew does not read:"
            f" {module_line('data.convert')} FILE OUT --to jsonl makes files of such images"
        )
    return source


def _phantom(name: str) -> Any:
    """Return what draws a phantom of this name, or None."""
    folder, _, rest = name.partition("/")
    part, _, file = rest.partition("/")
    if folder != "phantoms":
        return None
    from data.phantoms import phantom_examples  # draws with numpy: only where phantoms are shown

    try:
        asked = "count" if part.startswith("count-") else "letter"
        part = part.removeprefix("count-")
        examples = phantom_examples(part, file.rpartition("-")[0], asked=asked)
    except ValueError:
        return None
    sources = (source for example in examples for source in example.images)
    return next((source for source in sources if str(source) == name), None)
