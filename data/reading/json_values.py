"""A row's JSON, decoded by the standard library, and what is wrong with a row that it accepts."""

import json
from collections import Counter
from typing import Any

from data.reading.characters import LONGEST_ROW, Characters, is_whole
from data.reading.raw_row import RawRow

_MOST_DIGITS = 4300  # of a number, beyond which Python reads none
_NUMBER = 3  # characters behind 1 that show whether it goes on, as in 1e+5
_CUT = 16  # an error so near the end of the piece may be the piece's own


class JsonValues:
    """Decodes one value after the other."""

    def __init__(self) -> None:
        self._problem: str | None = None  # of the row that is being decoded
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object, parse_int=self._integer)

    def row_of(self, line: str) -> RawRow:
        """Return the row that is all of a line.

        Raises:
            json.JSONDecodeError: it is no JSON.
            RecursionError: it is nested too deeply.
        """
        self._problem = None
        value = self._decoder.decode(line)
        return RawRow(value, self._problem or _half_pair(value, line))

    def next_row(self, text: Characters, what: str) -> RawRow:
        """Return the row that begins here, on however many lines; reading goes on behind it.

        Raises:
            ValueError: it is no JSON; what it is, and where, in words.
        """
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
                    problem = self._problem or _half_pair(value, text.piece, start, end)
                    return RawRow(value, problem)
                continue
            length = len(text.piece) - text.at
            may_go_on = reason.startswith("Unterminated string") or ahead >= length - _CUT
            if may_go_on and length > LONGEST_ROW:
                reason = f"it has more than {LONGEST_ROW:,} characters, or a quote is never closed"
                raise text.not_json(reason, what)
            if not may_go_on or not text.grow():
                raise text.not_json(reason, what, ahead)

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


def _half_pair(value: Any, text: str, start: int = 0, end: int | None = None) -> str | None:
    """Return which field of a row holds half a surrogate pair, which is no character."""
    end = len(text) if end is None else end
    if text.find("\\u", start, end) < 0 and is_whole(text[start:end]):
        return None
    waiting = [("", value)]
    while waiting:
        field, item = waiting.pop()
        if isinstance(item, str) and not is_whole(item):
            return f"({field}) holds half a surrogate pair: not valid Unicode"
        if isinstance(item, list):
            waiting += [(field, one) for one in reversed(item)]
        elif isinstance(item, dict):
            for name, one in reversed(item.items()):
                shown = ascii(name)[1:-1][:80]
                waiting += [(field or shown, one), (field or shown, name)]
    return None
