"""Images that stand in the rows of a data file, as bytes or base64, and not in files of their own.

Their bytes are put into one temporary file without a name, which the system takes back when the
last of them is forgotten, or the process ends in whatever way. So a parquet file of any size costs
memory for where each image lies and no more, and any image is read at once, wherever its row group
lies or whatever it was packed with. What several rows hold is kept once.

The name of such an image is a digest of its bytes: rows that show one picture are known by it, in
every file and container, as rows that name one path are.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from tempfile import TemporaryFile, gettempdir
from threading import Lock
from weakref import WeakValueDictionary, ref

HELD = "sha256-"  # begins the names
_DIGITS = 32  # hexadecimal ones of a name: 128 bits


@dataclass(frozen=True, slots=True, weakref_slot=True)
class HeldImage:
    """One image's bytes, as a row holds them: not decoded, and not in memory."""

    name: str
    read: Callable[[], bytes] = field(compare=False, repr=False)

    def stream(self) -> BytesIO:
        """Return its bytes as a file that is open to be read."""
        return BytesIO(self.read())

    def __str__(self) -> str:
        return self.name


def held_image(content: bytes) -> HeldImage:
    """Return the image of these bytes, whatever they are: `examine_images` tells.

    Raises:
        OSError: the temporary folder is full; what to do is said.
    """
    with _LOCK:
        store = _current()
        if store is None or store.owner != os.getpid():  # a fork would write where this one does
            store = _Store()
            _set_current(store)
        return store.keep(content)


def known_image(name: str) -> HeldImage | None:
    """Return the image of this name, where a row of this process's data still holds it."""
    with _LOCK:
        store = _current()
        return None if store is None else store.known(name)


def named_as_held(name: str) -> bool:
    """Return whether a text is a name such as these images have.

    >>> named_as_held("sha256-0123456789abcdef0123456789abcdef"), named_as_held("sha256-a.png")
    (True, False)
    """
    digits = name.removeprefix(HELD)
    return digits != name and len(digits) == _DIGITS and not digits.strip("0123456789abcdef")


class _Store:
    """One temporary file, and where in it each image lies. It lives as long as one of them does."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._known: WeakValueDictionary[str, HeldImage] = WeakValueDictionary()
        self._end = 0
        try:
            self._file = TemporaryFile(prefix="groupwise-images-", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _full(error) from error

    def keep(self, content: bytes) -> HeldImage:
        name = HELD + hashlib.sha256(content).hexdigest()[:_DIGITS]
        known = self._known.get(name)
        if known is None:
            self._write(content)
            known = HeldImage(name, _Piece(self, self._end, len(content)))
            self._end += len(content)
            self._known[name] = known
        return known

    def known(self, name: str) -> HeldImage | None:
        return self._known.get(name)

    def _write(self, content: bytes) -> None:
        written = 0
        try:
            while written < len(content):  # one call writes two gigabytes at most
                place = self._end + written
                written += os.pwrite(self._file.fileno(), content[written:], place)
        except OSError as error:
            raise _full(error) from error

    def piece(self, start: int, length: int) -> bytes:
        pieces = []
        while length and (piece := os.pread(self._file.fileno(), length, start)):
            pieces.append(piece)
            start, length = start + len(piece), length - len(piece)
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Reads what lies at one place of a store."""

    store: _Store
    start: int
    length: int

    def __call__(self) -> bytes:
        return self.store.piece(self.start, self.length)


def _full(error: OSError) -> OSError:
    return OSError(
        f"the images that stand in the data's rows cannot be kept in the temporary folder"
        f" {gettempdir()} ({error.strerror}): free room there, or name another folder with the"
        " environment variable TMPDIR"
    )


_LOCK = Lock()
_held_by: list[ref[_Store]] = []  # the one that is written to: the images alone keep it


def _current() -> _Store | None:
    return _held_by[0]() if _held_by else None


def _set_current(store: _Store) -> None:
    _held_by[:] = [ref(store)]
