"""What others named is opened only where it is a regular file, so that no read waits for ever.

A named pipe is waited for until someone writes, /dev/zero has no end, and a socket or a terminal
answers when it likes. A link counts as what it leads to.
"""

import errno
import hashlib
import os
import stat
from io import BufferedReader, TextIOWrapper
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a named pipe",  # `<(zcat rows.json.gz)` is one, too
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_NEEDED = "and a regular file is needed: write what it gives into one, and name that"
# Where transformers looks for more than a checkpoint's own files.
_FOLDERS = ("", "additional_chat_templates")


class NotRegularError(OSError):
    """A path that leads to no regular file; `strerror` says what it is, and what to do."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def open_regular(path: str | Path) -> BufferedReader:
    """Return a regular file, opened to read its bytes.

    Raises:
        NotRegularError: a pipe, a socket or a device, also one that has just taken a file's place.
        OSError: as `open` does: nothing is there, it is a folder, it may not be read.
    """
    path = Path(path)
    _check(path, path.stat())  # opening a pipe wakes its writer, opening some devices is an act
    stream = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 the caller closes it
    try:
        _check(path, os.fstat(stream.fileno()))  # it may have been replaced meanwhile
    except OSError:
        stream.close()
        raise
    return stream


def open_regular_text(path: str | Path, encoding: str = "utf-8") -> TextIOWrapper:
    """Return a regular file, opened to read its lines; as `open_regular`."""
    return TextIOWrapper(open_regular(path), encoding=encoding)


def read_bytes(path: str | Path) -> bytes:
    """Return a regular file's content; as `open_regular`."""
    with open_regular(path) as stream:
        return stream.read()


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """Return a regular file's text; as `open_regular`, or a UnicodeDecodeError."""
    with open_regular_text(path, encoding) as stream:
        return stream.read()


def real_inside(file: Path, folder: Path) -> Path:
    """Return where a file really lies, below a folder.

    Raises:
        ValueError: a link leads out of the folder, or round in a circle.
        FileNotFoundError: there is no such file.
    """
    try:
        real = file.resolve(strict=True)
    except RuntimeError as error:
        raise ValueError(f"{file.name} is a link that leads round in a circle") from error
    if not real.is_relative_to(folder.resolve()):
        raise ValueError(f"{file.name} is a link that leads out of {folder}, which none may do")
    return real


def open_inside(folder: Path, name: str) -> BufferedReader:
    """Return a regular file of a folder, opened; as `open_regular` and `real_inside`."""
    return open_regular(real_inside(folder / name, folder))


def read_at_most(stream: BufferedReader, most: int) -> bytes:
    """Return all that an open file holds.

    Raises:
        ValueError: it holds more than so many bytes, and no more of it was read.
    """
    content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{Path(stream.name).name} is longer than {most >> 20} MiB")
    return content


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a regular file, of which no more than a piece is in memory."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_folder(folder: Path) -> None:
    """Raise for a folder that holds what is neither a file nor a folder: others open it by name.

    Raises:
        ValueError: with the name of the first one.
    """
    for name in _FOLDERS:
        place = folder / name
        for entry in sorted(place.iterdir()) if place.is_dir() else ():
            try:
                _check(entry, entry.stat())
            except NotRegularError as error:
                raise ValueError(str(error)) from None
            except OSError:  # a link to nothing: whoever needs it says so
                continue


def _check(path: Path, status: os.stat_result) -> None:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is not None:
        raise NotRegularError(errno.EINVAL, f"it is {kind}, {_NEEDED}", str(path))


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
