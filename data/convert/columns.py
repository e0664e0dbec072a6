"""The columns of a converted parquet file: ours, and one for each other field that a row has.

A column holds values of one kind, a row's field whatever JSON can hold. Texts, numbers of one kind
and yes or no have columns of their own kind; what is mixed or nested stands in its column as JSON,
and the file says of which columns that is so (data/reading/parquet_rows.py).
"""

import json
from collections.abc import Mapping
from typing import Any

from data.reading.families.own import FIELDS, MARK, OWN
from data.reading.parquet_rows import JSON_COLUMNS
from process.storage import finite_or_null

_JSON = "json"
_INTEGERS = range(-(2**63), 2**63)


class Columns:
    """Learns what the rows hold in a first pass, and writes them in a second."""

    def __init__(self) -> None:
        """Know no row yet."""
        self._kinds: dict[str, str] = {}

    def learn(self, row: Mapping[str, Any]) -> None:
        """Take note of one row's fields."""
        for name, value in row.items():
            if name in OWN.used or value is None:
                continue
            kind = _kind(value)
            if self._kinds.setdefault(name, kind) != kind:
                self._kinds[name] = _JSON

    def schema(self, pyarrow: Any) -> Any:
        """Return the schema of all rows that were learned."""
        text, number = pyarrow.string(), pyarrow.float64()
        image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", text)])
        mark = [("version", pyarrow.int64()), ("form", text), ("accepted", pyarrow.list_(text))]
        mark += [("absolute_tolerance", number), ("relative_tolerance", number)]
        mark += [(name, text) for name in ("system", "modality", "question_type", "dataset")]
        columns = [
            ("images", pyarrow.list_(image)),
            ("question", text),
            ("options", pyarrow.list_(text)),
            ("answer", text),
            (MARK, pyarrow.struct([*mark, (FIELDS, text)])),
        ]
        kinds = {"text": text, "integer": pyarrow.int64(), "number": number}
        kinds |= {"boolean": pyarrow.bool_(), _JSON: text}
        columns += [(name, kinds[kind]) for name, kind in self._kinds.items()]
        nested = [name for name, kind in self._kinds.items() if kind == _JSON]
        return pyarrow.schema(columns, metadata={JSON_COLUMNS: json.dumps(nested)})

    def written(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row as the schema's columns hold it."""
        found = dict(row)
        for name, kind in self._kinds.items():
            if kind == _JSON and found.get(name) is not None:
                found[name] = _json(found[name])
        if FIELDS in found[MARK]:
            found[MARK] = found[MARK] | {FIELDS: _json(found[MARK][FIELDS])}
        return found


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) and value in _INTEGERS:
        return "integer"
    if isinstance(value, float):
        return "number"
    return "text" if isinstance(value, str) else _JSON


def _json(value: Any) -> str:
    return json.dumps(finite_or_null(value), ensure_ascii=False, allow_nan=False)
