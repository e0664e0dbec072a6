"""VLMEvalKit's {model}_{dataset}.tsv: one line per row, under a heading.

    index                  the row's number, from 0
    question               without the options
    A, B, ..               the options that were shown with letters, as many columns as the longest
                           row has; empty for other rows
    answer, prediction     the key and the answer: a letter, Yes or No, a text, a number
    category               the question type

Its reader of letters takes Z for none of the options, so Z stands where no letter could be read.
Texts are quoted, so that tabs, line ends and quotation marks in
them are read back by `csv` and by pandas; what cannot be printed is an escape.
"""

import csv
from collections.abc import Iterator
from io import StringIO
from string import ascii_uppercase

from evaluation.export.answers import AnsweredRow, Answers, has_letters
from process.shown import shown

FILE_NAME = "{model}_{dataset}.tsv"
_NONE_OF_THEM = "Z"


def pieces(answers: Answers) -> Iterator[str]:
    """Yield the file's text, a row at a time."""
    most = max((len(_options(row)) for row in answers.rows), default=0)
    letters = list(ascii_uppercase[:most])
    yield _line(["index", "question", *letters, "answer", "prediction", "category"])
    for index, row in enumerate(answers.rows):
        options = _options(row)
        padded = [*options, *("" for _ in range(most - len(options)))]
        answer = [row.key, _prediction(row), row.item.question_type]
        yield _line([index, row.item.question, *padded, *answer])


def _options(row: AnsweredRow) -> tuple[str, ...]:
    return row.item.options if has_letters(row.item) else ()


def _prediction(row: AnsweredRow) -> str:
    options = _options(row)
    is_free = 0 < len(options) < len(ascii_uppercase)
    return row.response or (_NONE_OF_THEM if is_free else "")


def _line(cells: list[int | str]) -> str:
    stream = StringIO(newline="")
    writer = csv.writer(stream, "excel-tab", quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow([shown(cell) if isinstance(cell, str) else cell for cell in cells])
    return stream.getvalue()
