"""Where the converted rows' images stand: paths as they were, held ones in files or in the rows."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from data.examples import ImageSource, VQAExample
from data.held_images import HeldImage
from process.naming import naming
from process.storage import replacing

_KINDS = {  # how a file begins: what its name ends in
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"RIFF": ".webp",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"\0\0\0\x0cjP": ".jp2",
    b"\xffO\xffQ": ".j2k",
}


def path_below(source: Path, image_root: Path) -> str:
    """Return an image's path as a row writes it: below the image root."""
    return source.relative_to(image_root).as_posix()


def in_row(source: ImageSource, image_root: Path) -> dict[str, Any]:
    """Return an image as a parquet file's row holds it."""
    if isinstance(source, HeldImage):
        return {"bytes": source.read(), "path": None}
    assert isinstance(source, Path), "nothing that is drawn stands in a file"
    return {"bytes": None, "path": path_below(source, image_root)}


class PictureFolder:
    """Files for the images that stand in rows, in a folder beside the converted file.

    It is put in its place whole, by the end of a stack; without such an image there is none.
    """

    def __init__(self, place: Path, image_root: Path) -> None:
        """Make nothing yet."""
        self.place = place
        self.count = 0
        self._root = image_root
        self._unfinished: Path | None = None
        self._written: set[str] = set()
        self._with_path = ""  # the first row whose image has a path
        # Paths in one file begin under one folder: the image root where ours lies under it, too.
        self.base = place.parent
        self.is_under_root = place.parent.resolve().is_relative_to(image_root.resolve())
        if self.is_under_root:
            self.base = image_root.resolve()

    def paths(self, example: VQAExample, stack: ExitStack) -> list[str]:
        """Return what stands in the row for each of its images.

        Raises:
            ValueError: of two rows one has a path under the image root and the other an image
                that cannot lie there.
        """
        found = [self._path(source, stack) for source in example.images]
        if any(isinstance(source, Path) for source in example.images):
            self._with_path = self._with_path or example.id
        if self._with_path and self._written and not self.is_under_root:
            raise ValueError(
                f"some rows name images under {self._root} ({self._with_path}, for one) and others"
                f" hold theirs, which go into {self.place}: one --image-root has to lead to both."
                f" Name an output under {self._root}, or write --to parquet, which keeps them"
            )
        return found

    def _path(self, source: ImageSource, stack: ExitStack) -> str:
        if not isinstance(source, HeldImage):
            assert isinstance(source, Path), "nothing that is drawn stands in a file"
            return path_below(source, self._root)
        content = source.read()
        kind = next((end for head, end in _KINDS.items() if content.startswith(head)), ".img")
        name = f"{source.name}{kind}"
        if name not in self._written:
            file = self._folder(stack) / name
            with naming(file), file.open("wb") as stream:
                stream.write(content)
            self._written.add(name)
            self.count += 1
        return (self.place.resolve() / name).relative_to(self.base.resolve()).as_posix()

    def _folder(self, stack: ExitStack) -> Path:
        if self._unfinished is None:
            replaced = replacing(self.place, to_disk=True, may_end=True)
            self._unfinished = stack.enter_context(replaced)
            self._unfinished.mkdir()
        return self._unfinished
