"""lmms-eval's {model}_samples_{task}.jsonl: one object per line.

doc_id            the row's number, from 0
doc               the row, with what else of an open question is right (accepted texts, a number's
                  tolerances) where there is any, and the whole completion
target            the key: a letter, Yes or No, a text, a number
resps             [[answer]]: what is scored again, so the answer and not the completion
filtered_resps    [answer]
"""

from collections.abc import Iterator
from typing import Any

from evaluation.export.answers import AnsweredRow, Answers
from process.storage import json_text

FILE_NAME = "{model}_samples_{dataset}.jsonl"
_DOC = ("id", "images", "question", "options", "form", "modality", "question_type", "dataset",
        "completion")  # fmt: skip
# As in predictions.jsonl they stand there only where they say something.
_IF_ANY = ("accepted", "absolute_tolerance", "relative_tolerance")


def pieces(answers: Answers) -> Iterator[str]:
    """Yield the file's text, a row at a time."""
    for number, row in enumerate(answers.rows):
        yield json_text(_sample(number, row))


def _sample(number: int, row: AnsweredRow) -> dict[str, Any]:
    doc = {name: getattr(row.item, name) for name in _DOC}
    also_right = {name: value for name in _IF_ANY if (value := getattr(row.item, name))}
    return {
        "doc_id": number,
        "doc": doc | also_right,
        "target": row.key,
        "resps": [[row.response]],
        "filtered_resps": [row.response],
    }
