"""Image paths of a data file, looked up under one folder and never outside it."""

import os
import re
from pathlib import Path

_DRIVE_OR_HOME = re.compile(r"[A-Za-z]:|~")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # https://, file://, data:image/png
_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes, of file systems and of Linux
_TOO_LONG = "is not a path: it is longer than any file's can be"


class NoImageRootError(Exception):
    """A row names an image by its path, and no folder was given under which paths begin."""


class ImageRoot:
    """The folder that holds a file's images; a data file from elsewhere cannot reach out of it.

    The user chose the folder and with it the links that lie in it (a hub cache is made of links, an
    `Images` may lead to another disk): they are followed. The data file chose only the path's text,
    which is therefore read by itself: `..` is taken back before any link is looked at.
    """

    def __init__(self, folder: str | Path | None) -> None:
        """Begin under a folder; None: rows without images, or that hold them, need none."""
        self._is_given, folder = folder is not None, folder or Path()
        self.folder = Path(folder)
        # an absolute path in a row may name the folder as the user does, or where it really lies
        self._names = (os.path.abspath(folder), os.path.realpath(folder))  # noqa: PTH100

    def path(self, image: str) -> Path:
        """Return ``image`` under the folder; the file need not exist.

        Raises:
            ValueError: an absolute path, ``~``, a drive letter or ``..`` leads outside, or the text
                is no path at all.
            NoImageRootError: there is no folder.
        """
        if not self._is_given:
            raise NoImageRootError
        if "\0" in image:
            raise ValueError("is not a path: it holds a NUL character")
        if len(image) > _LONGEST_PATH:
            raise ValueError(_TOO_LONG)
        try:
            encoded = os.fsencode(self.folder / image)
        except UnicodeEncodeError as error:
            raise ValueError(f"is not a path ({error})") from error
        longest = max(map(len, encoded.split(b"/")))
        if longest > _LONGEST_NAME or len(encoded) > _LONGEST_PATH:
            raise ValueError(_TOO_LONG)
        if _ADDRESS.match(image):
            raise ValueError(
                f"is an address: images are read from the disk, fetch it and name the file under"
                f" the image root {self.folder}"
            )
        if _DRIVE_OR_HOME.match(image):
            raise ValueError(
                f"names a drive or a home folder, and paths in a data file begin under the image"
                f" root {self.folder}: cut off what stands before it"
            )
        inside = self._below(os.path.normpath(image))
        if inside is None:
            raise ValueError(
                f"leads outside the image root {self.folder}: move the image inside, or pass an"
                " --image-root that holds it"
            )
        return self.folder / inside

    def _below(self, path: str) -> str | None:
        """Return a normalised path as it stands under the folder, None where it does not."""
        if path.startswith("/"):
            for name in self._names:
                if path.startswith(name.rstrip("/") + "/"):
                    return path[len(name.rstrip("/")) + 1 :]
            return None
        return None if path.split("/")[0] in ("..", ".") else path
