"""What a power cut leaves: only what was told to reach the disk has surely reached it.

A file's bytes and its name are kept in different places: the file is flushed for the one, the
folder around it for the other. On Windows folders cannot be flushed; nothing is promised there.
"""

import ctypes
import errno
import os
from contextlib import suppress
from pathlib import Path

_CANNOT = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}  # of a file system that flushes no folders
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of Linux


def sync_file(file: Path) -> None:
    """Wait until a file's bytes are on the disk."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until a folder's names are on the disk: what was made, renamed or removed in it."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    finally:
        os.close(number)


def sync_tree(place: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk."""
    if not place.is_dir():
        sync_file(place)
        return
    for inside in place.iterdir():
        sync_tree(inside)
    sync_folder(place)


def file_system_of(folder: Path) -> str:
    """Return the kind of file system that a folder lies on, such as ext4; "" if nobody says so.

    Linux does.
    """
    place, found = folder.resolve(), (Path("/"), "")
    with suppress(OSError):
        for line in (
            Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            mounted, kind = line.split()[1:3]
            at = Path(mounted.replace("\\040", " "))
            if place.is_relative_to(at) and len(at.parts) >= len(found[0].parts):
                found = at, kind
    return found[1]


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and those around it, on the disk; return those that were not there, it first.

    Raises:
        OSError: one cannot be made, or a file stands in its place.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for new in reversed(missing):
        sync_folder(new.parent)
    return missing


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders change names in one moment; return whether that can be done here.

    Linux can, on most local file systems.
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # another system, or an old library
        return False
    names = os.fsencode(one), os.fsencode(other)
    return rename(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0
