"""Rows in each of the containers, as their own libraries write them, as bytes."""

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

CONTAINERS = ("json", "jsonl", "csv", "tsv", "parquet")


def write_rows(container: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a file's content; of a table's and parquet's rows a missing field is an empty one."""
    if container == "json":
        return json.dumps(rows, indent=1, ensure_ascii=False).encode()
    if container == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    names = list(dict.fromkeys(name for row in rows for name in row))
    if container == "parquet":
        return parquet({name: [row.get(name) for row in rows] for name in names})
    text = io.StringIO(newline="")
    # every cell in quotes: a lone carriage return is quoted by no writer of itself
    writer = csv.writer(text, dialect="excel", quoting=csv.QUOTE_ALL)
    if container == "tsv":
        writer = csv.writer(text, dialect="excel-tab", quoting=csv.QUOTE_ALL)
    writer.writerow(names)
    writer.writerows([row.get(name, "") for name in names] for row in rows)
    return text.getvalue().encode()


def parquet(columns: Mapping[str, Sequence[Any]], **options: Any) -> bytes:
    """Return a parquet file of these columns."""
    import pyarrow
    from pyarrow.parquet import write_table

    sink = pyarrow.BufferOutputStream()
    write_table(pyarrow.table(dict(columns)), sink, **options)
    return sink.getvalue().to_pybytes()


def packed(content: bytes) -> bytes:
    """Return it packed with gzip."""
    return gzip.compress(content, mtime=0)
