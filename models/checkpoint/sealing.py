"""The files of a checkpoint that is being written: hashed beside the writing, listed at its end.

A processor hashes about as fast as a fast disk writes, so that one after the other would double the
time of a save. Here what is finished is hashed while more is written, what is large is hashed as it
is written, and the disk takes over what is written while the last is hashed.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import MappingProxyType, TracebackType
from typing import Self

from torch import Tensor

from models.checkpoint.manifest import MANIFEST, FileFacts, Manifest
from models.checkpoint.tensor_file import pieces
from process.disk import sync_file
from process.naming import naming

_PIECE = 1 << 20
_COPIES = 2  # slices of a GPU's tensors that wait to be hashed


class Seal:
    """A context around the writing of a folder; `finish` writes its manifest."""

    def __init__(self, folder: Path) -> None:
        """Know the folder, which need not be there yet."""
        self._folder = folder
        self._sums: dict[str, Future[str]] = {}
        self._flushed: list[Future[None]] = []
        self._hashing = ThreadPoolExecutor(1)  # what is being written, piece after piece
        self._pool = ThreadPoolExecutor(2)  # what is written: one hashes, one waits for the disk
        self._given_up = Event()
        self._copies = deque[Future[None]]()  # not yet hashed, of whichever file: one bound for all

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Wait for no hash of a folder that was given up."""
        if error is not None:
            self._given_up.set()
        for pool in (self._hashing, self._pool):
            pool.shutdown(cancel_futures=True)

    def take(self) -> None:
        """Begin to hash every file of the model that is not yet known: nobody writes to them."""
        self._take(self._folder.glob("*"))

    def hash_ahead(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Begin to hash what `write_tensors` will write; of a GPU's it is hashed only then."""
        if all(tensor.device.type == "cpu" for tensor in tensors.values()):
            digest = hashlib.sha256()
            for piece, _ in pieces(tensors):
                self._hashing.submit(digest.update, piece)
            self._sums[name] = self._hashing.submit(digest.hexdigest)  # behind every piece

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write a safetensors file, hashed on the way if it has not been before."""
        digest, file, copies = hashlib.sha256(), self._folder / name, self._copies
        is_known = name in self._sums
        with naming(file), file.open("wb") as stream:
            for piece, is_copy in pieces(tensors):
                if not is_known:
                    hashed = self._hashing.submit(digest.update, piece)
                    copies.extend([hashed] * is_copy)
                stream.write(piece)
                if len(copies) > _COPIES:
                    copies.popleft().result()
        if not is_known:
            self._sums[name] = self._hashing.submit(digest.hexdigest)
        self._flush(file)

    def facts(self) -> dict[str, FileFacts]:
        """Return what is known of every file so far, once it is hashed and on the disk."""
        sums = {name: sum_of.result() for name, sum_of in self._sums.items()}
        sizes = {name: (self._folder / name).stat().st_size for name in sums}
        for flushed in self._flushed:
            flushed.result()
        return {name: FileFacts(sizes[name], sums[name]) for name in sums}

    def finish(self, step: int, others: Mapping[str, FileFacts] = MappingProxyType({})) -> None:
        """Hash what is left, then write manifest.json.

        Args:
            step: of the checkpoint.
            others: files that other processes have written and hashed.
        """
        files = (file for file in self._folder.rglob("*") if self._name(file) not in others)
        self._take(files)
        text, file = Manifest(step, {**self.facts(), **others}).text(), self._folder / MANIFEST
        with naming(file):
            file.write_text(text, encoding="utf-8")

    def _take(self, files: Iterable[Path]) -> None:
        for file in sorted(files):
            name = self._name(file)
            if name not in self._sums and file.is_file():
                self._sums[name] = self._pool.submit(self._checksum, file)
                self._flush(file)

    def _name(self, file: Path) -> str:
        return file.relative_to(self._folder).as_posix()

    def _checksum(self, file: Path) -> str:
        digest = hashlib.sha256()
        with file.open("rb", buffering=0) as stream:
            while (piece := stream.read(_PIECE)) and not self._given_up.is_set():
                digest.update(piece)
        return digest.hexdigest()

    def _flush(self, file: Path) -> None:
        self._flushed.append(self._pool.submit(sync_file, file))
