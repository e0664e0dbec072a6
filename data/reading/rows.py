"""The rows of a data file, whatever holds them; what it is, is told by its content.

    [ ...                         a JSON list (json_rows.py)
    {"image": ..}  a line each    JSON Lines (json_lines.py)
    image,question,..             CSV, with tabs TSV (table_rows.py)
    PAR1                          parquet (parquet_rows.py)

Each may be packed with gzip, and text may be UTF-8, with a byte order mark or without, UTF-16 or
UTF-32.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from data.reading.characters import Characters
from data.reading.json_lines import are_lines, check_lines, line_rows
from data.reading.json_rows import list_rows
from data.reading.parquet_rows import PARQUET, parquet_rows
from data.reading.raw_row import DEEPEST, RawRow, is_deep
from data.reading.table_rows import delimiter_of, table_rows
from data.reading.unpacked import GZIP, Unpacked
from process.memory import MemoryRanOutError

_READ = "a JSON list, JSON Lines, CSV, TSV and parquet are read, each also packed with gzip"
_HEADS = {  # of files that are none of these, however they are called
    GZIP: "packed with gzip twice: unpack it once",
    b"PK\x03\x04": "a zip file, as .xlsx is: unpack it, or save its table as CSV",
    b"BZh": "a bzip2 file: unpack it first",
    b"\xfd7zXZ": "an xz file: unpack it first",
    b"\x28\xb5\x2f\xfd": "a zstd file: unpack it first",
    b"ARROW1": "an Arrow file: write its rows as parquet",
    b"\xff\xff\xff\xff": "an Arrow stream: write its rows as parquet",
    b"PARE": "an encrypted parquet file: decrypt it first",
    b"\x80\x04\x95": "a pickle, which is a program: write its rows as JSON",
    b"\x93NUMPY": "an array of numpy: write its rows as JSON",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"%PDF": "a PDF file",
    b"\0\0\0\0": "zeros: was it copied whole?",
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself with `git lfs pull`",
    b"<!": "an HTML page, not the file itself: fetch that",
    b"<html": "an HTML page, not the file itself: fetch that",
}


def file_rows(path: Path) -> Iterator[RawRow]:
    """Yield the rows of a data file, one by one.

    Raises:
        ValueError: a file that cannot be read, is no data file, or is empty; where, in words.
        MemoryRanOutError: the memory does not hold a row.
    """
    number = 0
    try:
        for row in _rows(path):
            if is_deep(row.value):
                row = RawRow(
                    row.value, f"nests more than {DEEPEST} lists and objects in each other"
                )
            yield row
            number += 1
    except MemoryError as error:
        raise MemoryRanOutError(
            f"the memory ran out while row {number} of data file {path} was read: free memory, or"
            " give this process more"
        ) from error


def _rows(path: Path) -> Iterator[RawRow]:
    with Unpacked(path) as stream:
        if stream.head.startswith(PARQUET):
            yield from parquet_rows(stream)
            return
        for head, kind in _HEADS.items():
            if stream.head.startswith(head):
                raise stream.error(f"is {kind}. {_READ[0].upper()}{_READ[1:]}")
        yield from _text_rows(Characters(path, stream))


def _text_rows(text: Characters) -> Iterator[RawRow]:
    sign = text.first_sign()
    if not sign:
        raise text.error(f"is empty: {_READ}")
    if sign == "[":
        return list_rows(text)
    if sign == "{":
        check_lines(text)
        return line_rows(text)
    if are_lines(text):
        return line_rows(text)
    delimiter = delimiter_of(text.first_line())
    if delimiter is not None:
        return table_rows(text, delimiter)
    raise _unknown(text)


def _unknown(text: Characters) -> ValueError:
    try:
        kind = type(json.loads(text.piece[text.at :])).__name__
    except (ValueError, RecursionError):
        return text.error(f"begins with {text.beginning()}, as no data file does: {_READ}")
    return text.error(f"holds a JSON {kind}, not a list: put its rows in []")
