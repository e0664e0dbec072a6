"""The rows of a JSON list, one by one: a file of any size is never in memory as a whole.

    text       a piece of the file, decoded, that begins with what has not been read yet
    a row      is decoded from it by the standard library; where it breaks off, the piece grows

What is wrong with one row and leaves the file readable is said of the row (`RawRow.problem`), as
what it holds is said of it later; anything else ends the reading, with its place in the file.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.reading.characters import Characters
from process.memory import MemoryRanOutError

_LONGEST_ROW = 1 << 25  # characters: what is never closed would fill the memory, else
_MOST_DIGITS = 4300  # of a number, beyond which Python reads none
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = 3  # characters behind 1 that show whether it goes on, as in 1e+5
_CUT = 16  # an error so near the end of the piece may be the piece's own


@dataclass(frozen=True, slots=True)
class RawRow:
    """What stands at one place of the list, and what is wrong with how it is written."""

    value: Any
    problem: str | None = None


def json_rows(path: Path) -> Iterator[RawRow]:
    """Yield the rows of a JSON list.

    Raises:
        ValueError: a file that cannot be read, is not JSON, not a list, or empty; where, in words.
        MemoryRanOutError: the memory does not hold a row.
    """
    with Characters(path) as text:
        rows = _Rows(text)
        try:
            yield from rows
        except MemoryError as error:
            raise MemoryRanOutError(
                f"the memory ran out while row {rows.number} of data file {path} was read: free"
                " memory, or give this process more"
            ) from error


class _Rows:
    """One pass over a list's rows."""

    def __init__(self, text: Characters) -> None:
        self.number = 0
        self._text = text
        self._problem: str | None = None  # of the row that is being decoded
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object, parse_int=self._integer)

    def __iter__(self) -> Iterator[RawRow]:
        text = self._text
        if self._next() != "[":
            raise self._no_list()
        text.at += 1
        if self._next() == "]":
            raise text.error("is an empty list: there is nothing to read in it")
        while True:
            yield self._row()
            sign = self._next()
            if sign not in (",", "]"):
                raise text.not_json("',' or ']' is missing", f"behind row {self.number}")
            text.at += 1
            if sign == "]":
                break
            self.number += 1
        if self._next():
            raise text.not_json("Extra data", "behind the list")

    def _next(self) -> str:
        """Return the next character that is no white space, and go on there; "" at the end."""
        text = self._text
        while True:
            text.at = _SPACE.match(text.piece, text.at).end()  # type: ignore[union-attr]
            if text.at < len(text.piece) or not text.grow():
                return text.piece[text.at : text.at + 1]

    def _row(self) -> RawRow:
        if self._next() == "]":
            raise self._text.not_json("a row is missing", f"row {self.number}")
        value, start, end = self._value(f"row {self.number}")
        problem = self._problem or _half_pair(value, self._text.piece, start, end)
        return RawRow(value, problem)

    def _value(self, what: str) -> tuple[Any, int, int]:
        """Return a value, and where it stands in the piece; reading goes on behind it."""
        text = self._text
        while True:
            self._problem = None
            try:
                value, end = self._decoder.raw_decode(text.piece, text.at)
            except RecursionError:
                raise text.not_json("it is nested too deeply", what) from None
            except json.JSONDecodeError as error:
                ahead, reason = error.pos - text.at, error.msg
            else:
                if end <= len(text.piece) - _NUMBER or not text.grow():
                    start, text.at = text.at, end
                    return value, start, end
                continue
            length = len(text.piece) - text.at
            may_go_on = reason.startswith("Unterminated string") or ahead >= length - _CUT
            if may_go_on and length > _LONGEST_ROW:
                reason = f"it has more than {_LONGEST_ROW:,} characters, or a quote is never closed"
                raise text.not_json(reason, what)
            if not may_go_on or not text.grow():
                raise text.not_json(reason, what, ahead)

    def _no_list(self) -> ValueError:
        text = self._text
        start = text.piece[text.at : text.at + 1]
        if not start:
            return text.not_json("it is empty", "")
        kind = {"{": "dict", '"': "str"}.get(start)
        if kind is None or len(text.piece) < _LONGEST_ROW:
            value, _, _ = self._value("")
            kind = type(value).__name__
            if self._next():
                return text.not_json("Extra data", "behind its first value")
        return text.error(f"holds a JSON {kind}, not a list: put its rows in []")

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
            self._problem = f"has the field {ascii(twice)[:80]} more than once: keep one of them"
        return fields

    def _integer(self, digits: str) -> int:
        if len(digits) > _MOST_DIGITS:
            self._problem = f"holds a number of {len(digits):,} digits: write a shorter one"
            return 0
        return int(digits)


def _half_pair(value: Any, piece: str, start: int, end: int) -> str | None:
    """Return which field of a row holds half a surrogate pair, which is no character."""
    if piece.find("\\u", start, end) < 0 and _is_whole(piece[start:end]):
        return None
    waiting = [("", value)]
    while waiting:
        field, item = waiting.pop()
        if isinstance(item, str) and not _is_whole(item):
            return f"({field}) holds half a surrogate pair: not valid Unicode"
        if isinstance(item, list):
            waiting += [(field, one) for one in reversed(item)]
        elif isinstance(item, dict):
            for name, one in reversed(item.items()):
                shown = ascii(name)[1:-1][:80]
                waiting += [(field or shown, one), (field or shown, name)]
    return None


def _is_whole(text: str) -> bool:
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return False
    return True
