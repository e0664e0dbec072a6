"""The rows of a parquet file, a few at a time, by pyarrow, which nothing else needs.

Rows are what JSON would make of them (parquet_values.py). Bytes stay bytes, which an image of the
hub's data sets is.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from tempfile import TemporaryFile, gettempdir
from typing import Any, BinaryIO

from data.reading.parquet_values import batch_rows
from data.reading.raw_row import RawRow
from data.reading.unpacked import Unpacked
from process.called import install_line

PARQUET = b"PAR1"
# Metadata of a file: the columns whose texts are JSON, as python -m data.convert writes them.
JSON_COLUMNS = b"groupwise.json_columns"
NEEDED = "pyarrow >= 19"

_BATCH_BYTES = 4 << 20  # of rows that are read at one time, by their mean size
_MOST_ROWS = 1024
_PIECE = 1 << 20


def pyarrow_parquet() -> Any:
    """Return the library's module.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import pyarrow.parquet as library
    except ImportError as error:
        raise ValueError(
            f"parquet files need the library pyarrow ({error}): install it with:"
            f" {install_line(NEEDED)} (it is the extra [parquet])"
        ) from error
    return library


def parquet_rows(stream: Unpacked) -> Iterator[RawRow]:
    """Yield the rows of a parquet file.

    Raises:
        ValueError: pyarrow is missing, or cannot read the file; an empty one.
    """
    try:
        library = pyarrow_parquet()
    except ValueError as error:
        raise stream.error(f"is a parquet file, and {error}") from error.__cause__
    file = _unpacked(stream) if stream.is_packed else stream.file
    count = 0
    try:
        with library.ParquetFile(file, buffer_size=_PIECE, pre_buffer=False) as table:
            _check_names(stream, table.schema_arrow.names)
            rows, nested = _batch_rows(table.metadata), _json_columns(table.metadata)
            for batch in table.iter_batches(batch_size=rows, use_threads=False):
                for row in batch_rows(batch):
                    yield RawRow(row.value | _decoded(row.value, nested), row.problem)
                    count += 1
    except (MemoryError, _TwoColumnsError):
        raise
    except Exception as error:  # pyarrow raises its own and Python's, whatever is broken
        lines = str(error).splitlines() or [type(error).__name__]
        raise stream.error(
            f"cannot be read as parquet (behind row {count - 1}: {lines[0]}): fetch it again"
            if count
            else f"cannot be read as parquet ({lines[0]}): fetch it again"
        ) from error
    if not count:
        raise stream.error("holds no row: there is nothing to read in it")


class _TwoColumnsError(ValueError):
    """Two columns of one name, of which a row could have one."""


def _check_names(stream: Unpacked, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        reason = f"has several columns that are called {twice[0][:80]!r}: keep one of them"
        raise _TwoColumnsError(str(stream.error(reason)))


def _batch_rows(metadata: Any) -> int:
    groups = (metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    mean = sum(groups) // max(1, metadata.num_rows)
    return max(1, min(_MOST_ROWS, _BATCH_BYTES // max(1, mean)))


def _json_columns(metadata: Any) -> list[str]:
    return json.loads((metadata.metadata or {}).get(JSON_COLUMNS, b"[]"))


def _decoded(row: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: json.loads(row[name]) for name in names if row.get(name) is not None}


def _unpacked(stream: Unpacked) -> BinaryIO:
    """Return the file out of gzip, on the disk and without a name: its end is read first."""
    file = TemporaryFile(prefix="groupwise-unpacked-")  # noqa: SIM115
    try:
        while data := stream.read(_PIECE):
            file.write(data)
        file.seek(0, os.SEEK_SET)
    except OSError as error:
        file.close()
        raise stream.error(
            f"cannot be unpacked in the temporary folder {gettempdir()} ({error.strerror}): free"
            " room there, or name another folder with the environment variable TMPDIR"
        ) from error
    return file
