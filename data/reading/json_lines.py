"""The rows of JSON Lines: an object a line, blank lines between them or not.

A line that is broken is a bad row, as long as the file has any that is whole: the others can be
read. A file that has none is no JSON Lines, and the error says what it is instead.
"""

import json
import re
from collections.abc import Iterator

from data.reading.characters import Characters
from data.reading.json_rows import next_sign
from data.reading.json_values import JsonValues
from data.reading.raw_row import RawRow

_ENDS = re.compile(r"\r\n|\n|\r")


def line_rows(text: Characters) -> Iterator[RawRow]:
    """Yield the rows of JSON Lines, whose next line is known to be one or `are_lines` of others."""
    values = JsonValues()
    for number, line in text.lines():
        if not line.isspace():
            yield _row(values, line.rstrip(), number)


def are_lines(text: Characters) -> bool:
    """Return whether some line of the piece that is in memory is an object by itself."""
    values = JsonValues()
    for line in _ENDS.split(text.piece[text.at :]):
        line = line.strip(" \t")
        if line.startswith("{") and line.endswith("}"):  # the first look is cheap
            row = _row(values, line, 0)
            if isinstance(row.value, dict):
                return True
    return False


def check_lines(text: Characters) -> None:
    """Raise for a text that begins with a brace and is no JSON Lines.

    Raises:
        ValueError: it is one object, not JSON, or objects of several lines each; where, in words.
    """
    values, line = JsonValues(), text.first_line()
    try:
        values.row_of(line)
        return
    except RecursionError:
        return  # the row says so
    except json.JSONDecodeError as error:
        problem, ahead = error.msg, error.pos
    if problem != "Extra data":
        try:
            row = values.next_row(text, "")
        except ValueError:
            if are_lines(text):  # nothing is dropped before a value has ended
                return
            raise
        raise _spread(text, row)
    if not are_lines(text):
        raise text.not_json(problem, "", ahead)


def _spread(text: Characters, row: RawRow) -> ValueError:
    """Return the error about an object that goes on for several lines and has been read."""
    if next_sign(text):
        return text.error(
            "is no JSON Lines: its first row goes on for several lines. Write each row on a line of"
            " its own, or all of them as one JSON list"
        )
    kind = type(row.value).__name__
    return text.error(f"holds a JSON {kind}, not a list: put its rows in [], or one on each line")


def _row(values: JsonValues, line: str, number: int) -> RawRow:
    try:
        return values.row_of(line)
    except RecursionError:
        return RawRow(line, f"is nested too deeply (line {number:,})")
    except json.JSONDecodeError as error:
        place = f"line {number:,}, column {error.pos + 1:,}"
        return RawRow(line, f"is not JSON ({error.msg}: {place})")
