"""MedEvalKit's results.json: a list with one object per row.

prompt      the user's turn
choices     "A. text" for each option that was shown with a letter, else none
answer      the key: a letter, Yes or No, a text, a number
response    the answer in the same way, never the thought: its readers look for an option's
            text, or for "yes" and "no", anywhere in it
correct     as it was counted here
"""

from collections.abc import Iterator
from string import ascii_uppercase
from typing import Any

from evaluation.export.answers import AnsweredRow, Answers, has_letters
from process.storage import json_text

FILE_NAME = "results.json"


def pieces(answers: Answers) -> Iterator[str]:
    """Yield the file's text, a row at a time."""
    before = "[\n"
    for row in answers.rows:
        yield before + json_text(_row(row)).rstrip("\n")
        before = ",\n"
    yield "\n]\n" if answers.rows else "[]\n"


def _row(row: AnsweredRow) -> dict[str, Any]:
    options = row.item.options if has_letters(row.item) else ()
    return {
        "prompt": row.prompt,
        "choices": [f"{a}. {text}" for a, text in zip(ascii_uppercase, options, strict=False)],
        "answer": row.key,
        "response": row.response,
        "correct": row.item.correct,
    }
