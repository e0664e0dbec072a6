"""Read a published data file into examples; a row that is wrong is reported, never guessed at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from data.examples import UNKNOWN, ImageSource, VQAExample
from data.reading.families import Row, RowError, read_row
from data.reading.files import stem_of
from data.reading.image_paths import ImageRoot
from data.reading.labels import dataset_folder, modality_label, question_type_label, subject_of
from data.reading.row_images import image_source, path_in
from data.reading.rows import file_rows

_SHOWN_ROWS = 5
_SHOWN_CHARACTERS = 160
_LONGEST_REASON = 1000  # characters; a reason may list a row's options


@dataclass(frozen=True)
class BadRow:
    """A row that could not become an example."""

    file: str
    row: int  # counted from 0, as in the examples' ids
    value: str  # what is wrong, as Python writes it, cut when long
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.value} {self.reason}"


def load_examples(
    path: str | Path, image_root: str | Path, *, skip_bad_rows: bool = False
) -> list[VQAExample]:
    """Return the examples of one published file in its order; see `read_examples`."""
    return read_examples(path, image_root, skip_bad_rows=skip_bad_rows)[0]


def read_examples(
    path: str | Path, image_root: str | Path, *, skip_bad_rows: bool = False
) -> tuple[list[VQAExample], list[BadRow]]:
    """Return one file's examples in its order, and the rows that were skipped.

    The format (see data/reading/families/) is recognised from each row. Ids are the file's stem and
    the row's number from 0, so skipping a row renames no other. Images are not opened, and need not
    exist: see data/images.py.

    Raises:
        ValueError: a file that cannot be read, is no data file, is empty, or has bad rows: the
            first five are named, with the count. With ``skip_bad_rows`` only if all rows are bad.
    """
    examples, bad_rows = parse_rows(path, image_root)
    if bad_rows and not (skip_bad_rows and examples):
        raise ValueError(bad_rows_report(bad_rows, {str(path): len(examples) + len(bad_rows)}))
    return examples, bad_rows


def parse_rows(
    path: str | Path, image_root: str | Path, stem: str | None = None
) -> tuple[list[VQAExample], list[BadRow]]:
    """Return one file's examples in its order, and all rows that cannot be one.

    Args:
        path: of the file.
        image_root: the folder under which its image paths begin.
        stem: what the file was called, without the ending, when its rows got their ids; None: what
            it is called now. Ids, and what they decide, outlive a new name so.

    Raises:
        ValueError: a file that cannot be read, is no data file, or empty; the memory does not hold
            a row.
    """
    path = Path(path)
    root = ImageRoot(image_root)
    examples, bad_rows = [], []
    for number, row in enumerate(file_rows(path)):
        try:
            if row.problem is not None:
                raise RowError(row.value, row.problem)
            examples.append(_example(path, stem or stem_of(path), number, row.value, root))
        except RowError as error:
            value, reason = shorten(_written(error.value)), shorten(str(error), _LONGEST_REASON)
            bad_rows.append(BadRow(str(path), number, value, reason))
    return examples, bad_rows


def _written(value: Any) -> str:
    try:
        return repr(value)
    except RecursionError:
        return "a value nested very deeply"


def _example(path: Path, stem: str, number: int, row: Any, root: ImageRoot) -> VQAExample:
    content = read_row(row)
    subject = subject_of(PurePosixPath(stem).name)  # a file's of a folder begins with its place
    images = tuple(_image(image, root) for image in content.images)
    modalities = (modality_label(content.modality or ""), modality_label(subject))
    types = (question_type_label(content.question_type or ""), question_type_label(subject))
    return VQAExample(
        id=f"{stem}-{number}",
        images=images,
        question=content.question,
        options=content.options,
        answer=content.answer,
        modality=_first_known(modalities),
        question_type=_first_known(types),
        dataset=_folder(content) or content.dataset or UNKNOWN,
        source=str(path),
        form=content.form,
        accepted=content.accepted,
        absolute_tolerance=content.absolute_tolerance,
        relative_tolerance=content.relative_tolerance,
        system=content.system,
        fields=content.fields,
    )


def _image(image: Any, root: ImageRoot) -> ImageSource:
    try:
        return image_source(image, root)
    except ValueError as error:
        raise RowError(image, str(error)) from error


def _folder(content: Row) -> str | None:
    path = next(filter(None, map(path_in, content.images)), None)
    return None if path is None else dataset_folder(path)


def _first_known(labels: tuple[str, ...]) -> str:
    return next((label for label in labels if label != UNKNOWN), UNKNOWN)


def bad_rows_report(bad_rows: Sequence[BadRow], counts: Mapping[str, int], hint: str = "") -> str:
    """Return the message about rows that cannot be used: how many, the first few, what to do.

    Args:
        bad_rows: of one or several files.
        counts: file -> how many rows it has.
        hint: what else may help, one clause.
    """
    shown = [f"  - {bad_row}" for bad_row in bad_rows[:_SHOWN_ROWS]]
    if len(bad_rows) > _SHOWN_ROWS:
        shown.append(f"  - and {len(bad_rows) - _SHOWN_ROWS:,} more")
    bad_counts = Counter(bad_row.file for bad_row in bad_rows)
    files = [file for file in counts if file in bad_counts]
    what_to_do = "correct them, or leave them out with --skip-bad-rows"
    if all_bad := [file for file in files if bad_counts[file] == counts[file]]:
        what_to_do = f"no row is left to use{_of(all_bad, files)}: is this the right file?"
    total = sum(counts[file] for file in files)
    where = files[0] if len(files) == 1 else f"{len(files)} files"
    head = f"{len(bad_rows):,} of {total:,} rows of {where} cannot be used; {what_to_do}{hint}:"
    return "\n".join([head, *shown])


def _of(some: Sequence[str], files: Sequence[str]) -> str:
    return "" if len(files) == 1 else f" in {some[0]}"


def shorten(text: str, most: int = _SHOWN_CHARACTERS) -> str:
    """Return a text that fits a message: the middle of a long one is left out."""
    if len(text) <= most:
        return text
    return text[: most - 40] + " ... " + text[-35:]
