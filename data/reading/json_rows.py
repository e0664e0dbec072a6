"""The rows of a JSON list, one by one: a file of any size is never in memory as a whole.

    text       a piece of the file, decoded, that begins with what has not been read yet
    a row      is decoded from it by the standard library; where it breaks off, the piece grows

What is wrong with one row and leaves the file readable is said of the row (`RawRow.problem`), as
what it holds is said of it later; anything else ends the reading, with its place in the file.
"""

import re
from collections.abc import Iterator

from data.reading.characters import Characters
from data.reading.json_values import JsonValues
from data.reading.raw_row import RawRow

_SPACE = re.compile(r"[ \t\n\r]*")


def list_rows(text: Characters) -> Iterator[RawRow]:
    """Yield the rows of a JSON list, whose bracket is the next sign.

    Raises:
        ValueError: the text is not JSON, or an empty list; where, in words.
    """
    values, number = JsonValues(), 0
    assert next_sign(text) == "["
    text.at += 1
    if next_sign(text) == "]":
        raise text.error("is an empty list: there is nothing to read in it")
    while True:
        if next_sign(text) == "]":
            raise text.not_json("a row is missing", f"row {number}")
        yield values.next_row(text, f"row {number}")
        sign = next_sign(text)
        if sign not in (",", "]"):
            raise text.not_json("',' or ']' is missing", f"behind row {number}")
        text.at += 1
        if sign == "]":
            break
        number += 1
    if next_sign(text):
        raise text.not_json("Extra data", "behind the list")


def next_sign(text: Characters) -> str:
    """Return the next character that is no white space, and go on there; "" at the end."""
    while True:
        text.at = _SPACE.match(text.piece, text.at).end()  # type: ignore[union-attr]
        if text.at < len(text.piece) or not text.grow():
            return text.piece[text.at : text.at + 1]
