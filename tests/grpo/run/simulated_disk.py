"""A disk that keeps what was flushed, and of the rest what it likes, when the power is cut.

While it records, every flush, rename, removal and folder made below its root is a moment at which
the power may go. A file's bytes are safe up to its last flush, a folder's names up to that of the
folder; nothing else is promised, and nothing else is assumed.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from process import storage

_CHANGING = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "truncate")
Tree = dict[str, bytes | None]  # path -> content; None: a folder


@dataclass
class State:
    """What every file and folder holds; they are known by numbers of their own."""

    contents: dict[int, bytes] = field(default_factory=dict)
    names: dict[int, dict[str, int]] = field(default_factory=dict)

    def copy(self) -> "State":
        return State(dict(self.contents), dict(self.names))


@dataclass
class Disk:
    """Records what happens below a root, and gives back what a power cut may leave of it."""

    root: Path
    moments: list[tuple[State, State, Any]] = field(default_factory=list)  # now, safe, note
    note: Any = None
    _safe: State = field(default_factory=State)
    _numbers: dict[int, int] = field(default_factory=dict)  # inode -> number, of what is there
    _count: int = 0
    # a checkpoint is flushed by threads of its own while others of its files are renamed
    _lock: Any = field(default_factory=threading.RLock)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record until the end of the block; nothing is flushed in earnest."""
        with pytest.MonkeyPatch.context() as patch:
            for name in _CHANGING:
                patch.setattr(os, name, self._noted(getattr(os, name)))
            patch.setattr(storage, "exchange", self._noted(storage.exchange))
            patch.setattr(os, "fsync", self._flush)
            self._look()
            yield
            self._look()

    def _noted(self, change: Any) -> Any:
        def changes(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                self._look()
                result = change(*arguments, **options)
                self._look()
            return result

        return changes

    def _flush(self, descriptor: int) -> None:
        with self._lock:
            now = self._look()
            number = self._numbers.get(os.fstat(descriptor).st_ino)
            if number in now.names:
                self._safe.names[number] = now.names[number]
            elif number in now.contents:
                self._safe.contents[number] = now.contents[number]
            self._look()

    def _look(self) -> State:
        """Take down what is there now, as a moment at which the power may go."""
        now, there = State(), {}
        self._take(self.root, now, there)
        self._numbers = there  # an inode that is gone may come again as another file
        self.moments.append((now, self._safe.copy(), self.note))
        return now

    def _take(self, place: Path, now: State, there: dict[int, int]) -> int:
        inode = place.stat().st_ino
        if inode not in self._numbers:
            self._count += 1
        number = there[inode] = self._numbers.get(inode, self._count)
        if place.is_dir():
            inside = sorted(place.iterdir())
            now.names[number] = {one.name: self._take(one, now, there) for one in inside}
        else:
            now.contents[number] = place.read_bytes()
        return number

    def cuts(self) -> Iterator[tuple[Tree, Any]]:
        """Yield every different tree that a power cut may leave, with the note of its moment."""
        seen = set()
        for now, safe, note in self.moments:
            for live_names in (False, True):
                for part in (0.0, 0.5, 1.0):  # of what was written and not flushed
                    tree: Tree = {}
                    _grow(tree, 1, "", now, safe, live_names=live_names, part=part)
                    key = (note, *tree.items())
                    if key not in seen:
                        seen.add(key)
                        yield tree, note


def _grow(
    tree: Tree, number: int, path: str, now: State, safe: State, *, live_names: bool, part: float
) -> None:
    is_folder = number in now.names or number in safe.names or number == 1
    if not is_folder:
        old = safe.contents.get(number, b"")
        new = now.contents.get(number, old)
        tree[path] = new[: len(old) + int(part * (len(new) - len(old)))] if part else old
        return
    tree[path] = None
    safe_names = safe.names.get(number, {})
    names = now.names.get(number, safe_names) if live_names else safe_names
    for name, inside in names.items():
        below = f"{path}/{name}" if path else name
        _grow(tree, inside, below, now, safe, live_names=live_names, part=part)


def rebuild(tree: Tree, root: Path) -> None:
    """Write a tree below a folder that is not there yet."""
    for path, content in tree.items():
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)
