"""What a parquet file's cells are in Python: as JSON would have them, but for bytes.

A null is a field that the row does not have, dates are text as ISO 8601 writes them. pyarrow makes
Python's own objects of a batch. Some values have none, such as times of nanoseconds, years beyond
9999 and maps that have a key twice: where a batch holds one, its cells are taken one by one.
"""

import json
from collections.abc import Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from data.reading.raw_row import RawRow


def batch_rows(batch: Any) -> Iterator[RawRow]:
    """Yield the rows of a record batch; one that holds what cannot be read says so."""
    try:
        rows = batch.to_pylist(maps_as_pydicts="strict")
    except MemoryError:
        raise
    except Exception:  # pyarrow raises its own and Python's, whatever a value is
        yield from _one_by_one(batch)
        return
    for row in rows:
        yield RawRow(_plain(row))


def _one_by_one(batch: Any) -> Iterator[RawRow]:
    for number in range(batch.num_rows):
        fields, problem = {}, None
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                fields[name] = _value(column[number])
            except MemoryError:
                raise
            except Exception as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                problem = f"({ascii(name)[1:-1][:80]}) holds what cannot be read: {reason}"
        yield RawRow(_plain(fields), problem)


def _value(scalar: Any) -> Any:
    """Return one cell's value, or what is in it; raises what pyarrow does."""
    import pyarrow

    if not scalar.is_valid:
        return None
    if isinstance(scalar, pyarrow.StructScalar):
        return {name: _value(one) for name, one in scalar.items()}
    if isinstance(scalar, pyarrow.MapScalar):
        pairs = [[_name(_value(one["key"])), _value(one["value"])] for one in scalar.values]
        fields = dict(pairs)
        return fields if len(fields) == len(pairs) else pairs
    if isinstance(scalar, pyarrow.ListScalar):  # and large ones and those of a fixed size
        return [_value(one) for one in scalar.values]
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        if not pyarrow.types.is_temporal(scalar.type):
            raise
    if pyarrow.types.is_duration(scalar.type):
        return scalar.value / _A_SECOND[scalar.type.unit]
    text = scalar.cast(pyarrow.string()).as_py()
    if text.startswith("<"):  # so pyarrow says what has no text
        raise ValueError(text.strip("<>"))
    return text.replace(" ", "T", 1)


_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_name(name): _plain(one) for name, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, date | time):  # and datetime, which is a date
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal | UUID):
        return str(value)
    return value


def _name(key: Any) -> str:
    """Return a map's key as JSON has it.

    >>> _name("a"), _name(1), _name(True), _name(date(2020, 1, 2))
    ('a', '1', 'true', '2020-01-02')
    """
    key = _plain(key)
    return json.dumps(key) if isinstance(key, bool | int | float) else str(key)
