"""Read a published data file into examples; a row that is wrong is reported, never guessed at."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from data.examples import UNKNOWN, ImageSource, VQAExample
from data.reading.bad_rows import BadRow, bad_rows_report, shorten
from data.reading.bad_rows_file import note_bad_rows
from data.reading.families import Row, RowError, read_row
from data.reading.files import stem_of
from data.reading.image_paths import ImageRoot
from data.reading.labels import dataset_folder, modality_label, question_type_label, subject_of
from data.reading.only import Only
from data.reading.row_images import image_source, path_in
from data.reading.rows import file_rows

_LONGEST_REASON = 1000  # characters; a reason may list a row's options


def load_examples(
    path: str | Path, image_root: str | Path, *, skip_bad_rows: bool = False
) -> list[VQAExample]:
    """Return the examples of one published file in its order; see `read_examples`."""
    return read_examples(path, image_root, skip_bad_rows=skip_bad_rows)[0]


def read_examples(
    path: str | Path,
    image_root: str | Path,
    *,
    skip_bad_rows: bool = False,
    only: Only | None = None,
) -> tuple[list[VQAExample], list[BadRow]]:
    """Return one file's examples in its order, and the rows that were skipped.

    The format (see data/reading/families/) is recognised from each row. Ids are the file's stem and
    the row's number from 0, so skipping a row renames no other. Images are not opened, and need not
    exist: see data/images.py.

    Raises:
        ValueError: a file that cannot be read, is no data file, is empty, or has bad rows: the
            first five are named, with the count. With ``skip_bad_rows`` only if all rows are bad.
            Of the rows that ``only`` asks for, if it is given; it asks for none.
    """
    only = only or Only()
    examples, bad_rows = parse_rows(path, image_root, only=only)
    only.check_some(str(path))
    note_bad_rows(bad_rows)
    if bad_rows and not (skip_bad_rows and examples):
        raise ValueError(bad_rows_report(bad_rows, {str(path): len(examples) + len(bad_rows)}))
    return examples, bad_rows


def parse_rows(
    path: str | Path,
    image_root: str | Path | None,
    stem: str | None = None,
    only: Only | None = None,
) -> tuple[list[VQAExample], list[BadRow]]:
    """Return one file's examples in its order, and all rows that cannot be one.

    Args:
        path: of the file.
        image_root: the folder under which its image paths begin; None: it is to have none.
        stem: what the file was called, without the ending, when its rows got their ids; None: what
            it is called now. Ids, and what they decide, outlive a new name so.
        only: which rows are asked for; others are neither examples nor bad. None: all.

    Raises:
        ValueError: a file that cannot be read, is no data file, or empty; the memory does not hold
            a row.
        NoImageRootError: a row has an image path, and there is no folder.
    """
    examples: list[VQAExample] = []
    bad_rows: list[BadRow] = []
    for found in each_row(path, image_root, stem, only):
        if isinstance(found, BadRow):
            bad_rows.append(found)
        else:
            examples.append(found)
    return examples, bad_rows


def each_row(
    path: str | Path,
    image_root: str | Path | None,
    stem: str | None = None,
    only: Only | None = None,
) -> Iterator[VQAExample | BadRow]:
    """Yield what one file's rows are, one by one and in their order; see `parse_rows`."""
    path = Path(path)
    root = ImageRoot(image_root)
    only = only or Only()
    for number, row in enumerate(file_rows(path)):
        if only.rules_out(row.value):
            continue
        try:
            if row.problem is not None:
                raise RowError(row.value, row.problem)
            example = _example(path, stem or stem_of(path), number, row.value, root)
        except RowError as error:
            value, reason = shorten(_written(error.value)), shorten(str(error), _LONGEST_REASON)
            yield BadRow(str(path), number, value, reason)
        else:
            if only.keeps(row.value, example):
                yield example


def _written(value: Any) -> str:
    try:
        return repr(value)
    except RecursionError:
        return "a value nested very deeply"


def _example(path: Path, stem: str, number: int, row: Any, root: ImageRoot) -> VQAExample:
    content = read_row(row)
    subject = subject_of(PurePosixPath(stem).name)  # a file's of a folder begins with its place
    images = tuple(_image(image, root) for image in content.images)
    folder = _folder(content)
    if content.states_labels:
        subject, folder = "", None
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
        dataset=folder or content.dataset or UNKNOWN,
        source=str(path),
        form=content.form,
        accepted=content.accepted,
        absolute_tolerance=content.absolute_tolerance,
        relative_tolerance=content.relative_tolerance,
        system=content.system,
        family=content.family,
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
