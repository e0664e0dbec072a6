"""manifest.json: the files of a checkpoint, by which a damaged one is noticed.

    {"format_version": 1,
     "step": 100,
     "files": {"config.json": {"size": 1234, "sha256": ".."}, "trainer/state.json": ..},
     "sha256": ".."}         of all the rest, so that a damaged list is not taken for damaged files

It is written last. A folder of somebody else's may hold a file of the same name: see `is_listed`.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from models.checkpoint.checksums import file_checksum
from models.files import DOWNLOADED
from models.named_model import CARD
from process.regular import read_text

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
# What only a run that goes on reads; a copy of the model may lack it.
TRAINER = "trainer/"
ADAPTER = "adapter/"  # of a checkpoint whose weights are merged (docs/lora.md)


@dataclass(frozen=True)
class FileFacts:
    """What a file was when it was saved."""

    size: int  # in bytes
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The files of one checkpoint by their names in it, manifest.json itself left out."""

    step: int
    files: Mapping[str, FileFacts]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(facts.size for facts in self.files.values())

    def text(self) -> str:
        """Return what the file holds."""
        files = {name: vars(facts) for name, facts in sorted(self.files.items())}
        content = {"format_version": FORMAT_VERSION, "step": self.step, "files": files}
        return json.dumps({**content, "sha256": _own_checksum(content)}, indent=2) + "\n"


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of a checkpoint.

    Raises:
        ValueError: it is not there, is damaged itself, or was written by a later version.
    """
    try:
        content = json.loads(read_text(directory / MANIFEST))
        own = content.pop("sha256")
        if not isinstance(content["files"], dict) or own != _own_checksum(content):
            raise ValueError("its own checksum differs")
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"format_version {content['format_version']}, and this version knows"
                f" {FORMAT_VERSION}"
            )
        files = {name: FileFacts(**facts) for name, facts in content["files"].items()}
        return Manifest(content["step"], _inside(files))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{MANIFEST} is damaged ({type(error).__name__}: {error})") from error


def damages(
    directory: Path,
    manifest: Manifest,
    belongs: Callable[[str], bool] = lambda _: True,
    *,
    contents: bool = True,
) -> list[str]:
    """Return what is wrong with the files, each named.

    Args:
        directory: the checkpoint.
        manifest: its own.
        belongs: of a file's name, whether it is looked at.
        contents: read them all, where names and sizes are right.
    """
    listed = {name: facts for name, facts in manifest.files.items() if belongs(name)}
    found = [*_wrong_sizes(directory, listed), *_unlisted(directory, manifest.files, belongs)]
    return found or (list(_wrong_bytes(directory, listed)) if contents else [])


def check_model(directory: Path) -> None:
    """Raise where a file of a saved model is not what its manifest says, if there is one.

    Without trainer/ and groupwise.json it is still that model.

    Raises:
        ValueError: naming every such file.
    """
    if not is_listed(directory):
        return
    optional = {CARD} if not (directory / CARD).exists() else set()
    try:
        manifest = read_manifest(directory)
        found = damages(
            directory,
            manifest,
            lambda name: not name.startswith((TRAINER, ADAPTER)) and name not in optional,
        )
    except ValueError as error:
        found = [str(error)]
    if found:
        raise ValueError(
            f"{directory} is not as it was saved: {'; '.join(found)}. Fetch or copy it again; if"
            f" the change is yours, remove {directory / MANIFEST}"
        )


def is_listed(directory: Path) -> bool:
    """Return whether a directory has a manifest of ours: one can be read, or our card is beside it.

    Other tools call files so, too.
    """
    if not (directory / MANIFEST).is_file():
        return False
    try:
        read_manifest(directory)
    except ValueError:
        return (directory / CARD).is_file()
    return True


def _own_checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _inside(files: dict[str, FileFacts]) -> dict[str, FileFacts]:
    for name, facts in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not isinstance(facts.size, int):
            raise ValueError(f"it lists {name!r}")
    return files


def _wrong_sizes(directory: Path, listed: Mapping[str, FileFacts]) -> Iterator[str]:
    for name, facts in listed.items():
        file = directory / name
        if not file.exists():
            yield f"{name} is missing"
        elif not file.is_file():
            yield f"{name} is no file"
        elif (size := file.stat().st_size) != facts.size:
            yield f"{name} has {size:,} bytes in place of {facts.size:,}"


def _unlisted(
    directory: Path, listed: Collection[str], belongs: Callable[[str], bool]
) -> Iterator[str]:
    """Yield files that loading would read and saving did not write."""
    read = {file for pattern in DOWNLOADED for file in directory.glob(pattern)}
    read |= {file for file in directory.glob(f"{TRAINER}**/*") if not file.is_dir()}
    for name in sorted(file.relative_to(directory).as_posix() for file in read):
        if name not in listed and belongs(name):
            yield f"{name} was not saved with it: remove it"


def _wrong_bytes(directory: Path, listed: Mapping[str, FileFacts]) -> Iterator[str]:
    for name, facts in listed.items():
        try:
            now = file_checksum(directory / name)
        except OSError as error:
            yield f"{name} cannot be read ({error})"
            continue
        if now != facts.sha256:
            yield f"{name} has other bytes (SHA-256 {facts.sha256[:12]} when saved, {now[:12]} now)"
