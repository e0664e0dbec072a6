"""Converted rows as parquet: images that stand in rows stay there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.convert.columns import Columns
from data.convert.own_row import own_row
from data.convert.pictures import in_row
from data.convert.source_rows import SourceRows
from data.reading.parquet_rows import pyarrow_parquet
from process.naming import naming
from process.storage import replacing

_ROWS, _BYTES = 512, 8 << 20  # of a row group: the first that is reached ends it
_PAGE = 16  # rows of a page, of which one is unpacked at a time


def write_parquet(rows: SourceRows, out: Path) -> None:
    """Write the file, or nothing; the rows are read twice, for their columns and for themselves.

    Raises:
        ValueError: pyarrow is not installed; bad rows.
    """
    library = pyarrow_parquet()
    import pyarrow

    columns = Columns()
    for example in rows:
        columns.learn(own_row(example, []))
    schema = columns.schema(pyarrow)
    with (
        naming(out),
        replacing(out, to_disk=True, may_end=True) as unfinished,
        library.ParquetWriter(
            unfinished, schema, compression="zstd", use_dictionary=False, write_batch_size=_PAGE
        ) as writer,
    ):
        for group in _groups(rows, columns):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))


def _groups(rows: SourceRows, columns: Columns) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    held = 0
    for example in rows:
        images = [in_row(source, rows.image_root) for source in example.images]
        group.append(columns.written(own_row(example, images)))
        held += sum(len(image["bytes"] or b"") for image in images)
        if len(group) == _ROWS or held >= _BYTES:
            yield group
            group, held = [], 0
    if group:
        yield group
