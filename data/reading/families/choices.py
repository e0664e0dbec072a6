"""What holds of every question with options, whatever its family."""

from string import ascii_uppercase
from typing import Any

from data.options import same_option
from data.reading.families.row import Row, RowError

RIGHT_TWICE = "means an option that stands under several letters"  # said of such a bad row


def check_right_once(row: dict[str, Any], content: Row) -> None:
    """Raise where the right option stands under two letters: one would be scored as wrong.

    Two wrong options may be one text: whoever chooses either is wrong.
    """
    right = same_option(content.options[ascii_uppercase.index(content.answer)])
    pairs = zip(ascii_uppercase, content.options, strict=False)
    twins = [letter for letter, text in pairs if same_option(text) == right]
    if len(twins) > 1:
        field = content.answer_field
        raise RowError(
            row.get(field),
            f"({field}) {RIGHT_TWICE} ({', '.join(twins)}): it equals {len(twins)} of the"
            f" options {list(content.options)}, and a letter of its own text would be scored as"
            " wrong",
        )
