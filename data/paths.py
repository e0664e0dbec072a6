"""Image paths of a data file, looked up under one folder and never outside it."""

import os
from pathlib import Path


class ImageRoot:
    """The folder that holds a file's images; a data file from elsewhere cannot reach out of it."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._real_folder = os.path.realpath(folder)
        self._real_parents: dict[Path, str] = {}  # files share folders: each is looked up once

    def path(self, image: str) -> Path:
        """Return ``image`` under the folder; the file need not exist.

        Raises:
            ValueError: an absolute path, ``..`` or a symbolic link leads outside, or the text is no
                path at all.
        """
        if "\0" in image:
            raise ValueError("is not a path: it holds a NUL character")
        path = self.folder / image
        try:
            real = self._real(path)
        except (OSError, ValueError) as error:  # a name too long, or in no encoding
            raise ValueError(f"is not a path ({error})") from error
        if not real.startswith(self._real_folder.rstrip(os.sep) + os.sep):
            raise ValueError(
                f"leads outside the image root {self.folder}, to {real}: move the image inside, or"
                " pass an --image-root that holds it"
            )
        return path

    def _real(self, path: Path) -> str:
        if path.name == ".." or path.is_symlink():
            return os.path.realpath(path)
        if path.parent not in self._real_parents:
            self._real_parents[path.parent] = os.path.realpath(path.parent)
        return os.path.join(self._real_parents[path.parent], path.name)  # noqa: PTH118 it is a str
