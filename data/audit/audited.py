"""The files of an audit: read, named, and paired as train and test of one subject."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.examples import UNKNOWN, StoredImage, VQAExample, image_name
from data.grouping import image_key
from data.named import is_phantoms
from data.reading.bad_rows import BadRow
from data.reading.files import data_files, stem_of
from data.reading.labels import modality_label, question_type_label, subject_of
from data.reading.only import Only
from data.reading.readers import read_examples
from process.regular import sha256_of

_PART = re.compile(r"_(train|test)$", re.IGNORECASE)


@dataclass(frozen=True)
class AuditFile:
    """One data file and its rows."""

    path: Path
    subject: str  # the name without _train or _test, see `data.reading.labels.subject_of`
    part: str  # "train", "test", or "" where the name ends with neither
    examples: list[VQAExample]
    # per example what its images are called: the path below the image root, or of one that stands
    # in its row a digest of its bytes, which is the same in every file
    images: list[tuple[str, ...]]
    bad_rows: list[BadRow]
    checksum: str  # SHA-256 of the file

    @property
    def name(self) -> str:
        return stem_of(self.path)

    @property
    def label(self) -> str:
        """The subject as modality or question type, in one spelling; else as the file has it."""
        labels = (modality_label(self.subject), question_type_label(self.subject))
        return next((label for label in labels if label != UNKNOWN), self.subject)

    @property
    def axis(self) -> str:
        """What the file is a slice of: ``modality``, ``question type`` or ``other``."""
        if modality_label(self.subject) != UNKNOWN:
            return "modality"
        return "question type" if question_type_label(self.subject) != UNKNOWN else "other"

    @property
    def pictures(self) -> dict[str, StoredImage]:
        """Where each of its images is read from, by what it is called."""
        rows = zip(self.images, self.examples, strict=True)
        return {
            name: source
            for names, example in rows
            for name, source in zip(names, example.images, strict=True)
            if isinstance(source, StoredImage)
        }


FilePair = tuple[AuditFile, AuditFile]  # train, test


def read_files(
    paths: Sequence[str | Path], image_root: Path, only: Sequence[str] = ()
) -> list[AuditFile]:
    """Return the files in their order, bad rows left out and listed.

    Args:
        paths: of the files.
        image_root: the folder under which image paths begin.
        only: FIELD=VALUE, which rows are read, of every file.

    Raises:
        ValueError: `phantoms`, which is no file; a file that cannot be read, is named twice, or has
            no good row, or none that is asked for; two files of one name, since rows and tables are
            called after it.
    """
    for name in paths:
        if is_phantoms(name):
            raise ValueError(
                f"{name} is the embedded data, which is in no file: write it with `python -m"
                " data.phantoms --output-dir DIR` and name the JSON files there (the path of that"
                f" name is ./{name})"
            )
    files: dict[str, AuditFile] = {}
    for path in (Path(file.name) for name in paths for file in data_files(name)):
        stem = stem_of(path)
        if stem in files:
            raise ValueError(
                f"two files are called {stem}: {files[stem].path} and {path}; name each file once,"
                " and audit two versions of one split apart"
            )
        files[stem] = _read(path, image_root, only)
    return list(files.values())


def pairs_of(files: Sequence[AuditFile]) -> list[FilePair]:
    """Return (train, test) of every subject that has both.

    Raises:
        ValueError: no subject has both.
    """
    train = {file.subject: file for file in files if file.part == "train"}
    pairs = [
        (train[file.subject], file)
        for file in files
        if file.part == "test" and file.subject in train
    ]
    if not pairs:
        names = ", ".join(sorted(file.path.name for file in files)[:6])
        raise ValueError(
            f"no two of the {len(files)} files are a pair ({names}): pass NAME_train.json and"
            " NAME_test.json of at least one subject"
        )
    return pairs


def _read(path: Path, image_root: Path, only: Sequence[str]) -> AuditFile:
    asked = Only(only)
    examples, bad_rows = read_examples(path, image_root, skip_bad_rows=True, only=asked)
    if note := asked.note():
        print(f"{path.name}: {note}")
    stem = stem_of(path)
    part = _PART.search(stem)
    return AuditFile(
        path=path,
        subject=subject_of(stem),
        part=part[1].lower() if part else "",
        examples=examples,
        images=[_names(example, image_root) for example in examples],
        bad_rows=bad_rows,
        checksum=sha256_of(path),
    )


def _names(example: VQAExample, image_root: Path) -> tuple[str, ...]:
    return tuple(
        image_key(image.relative_to(image_root).as_posix())
        if isinstance(image, Path)
        else image_name(image)
        for image in example.images
    )
