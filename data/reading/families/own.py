"""Our own rows, as ``python -m data.convert`` writes them: what was read once is stated, not found.

A field ``groupwise`` says that a row is one of them, so that no other family is asked about it. It
holds what other families have to find out: the form of the answer and the labels.
"""

import json
from typing import Any

from data.examples import UNKNOWN, VQAExample
from data.reading.families.family import Field, RowFamily
from data.reading.families.pictures import images_under
from data.reading.families.row import Row, RowError
from data.reading.families.values import text_in
from rewards.forms import FORMS

MARK = "groupwise"
VERSION = 1
# What the mark holds besides its version: the names of `VQAExample`, with what is meant where one
# is not there.
STATED: dict[str, Any] = {
    "form": "letter",
    "accepted": (),
    "absolute_tolerance": 0.0,
    "relative_tolerance": 0.0,
    "system": "",
    "modality": UNKNOWN,
    "question_type": UNKNOWN,
    "dataset": UNKNOWN,
}
FIELDS = "fields"  # in the mark: the row's other fields that have one of our fields' names


def _read(row: dict[str, Any]) -> Row:
    """Return what a row of the family says."""
    mark = row[MARK]
    if not isinstance(mark, dict) or mark.get("version") != VERSION:
        raise RowError(mark, f"({MARK}) is no object of version {VERSION}: convert the file anew")
    stated = {name: mark.get(name, default) for name, default in STATED.items()}
    for name, default in STATED.items():
        stated[name] = _checked(stated[name], default, name)
    options, fields = row.get("options") or [], mark.get(FIELDS) or {}
    if not isinstance(options, list) or not all(isinstance(one, str) for one in options):
        raise RowError(options, "(options) is no list of texts")
    if isinstance(fields, str):  # in a parquet file
        fields = _object(fields)
    if not isinstance(fields, dict):
        raise RowError(fields, f"({MARK}.{FIELDS}) is no object")
    content = Row(
        images=images_under(row, ["images"]),
        question=text_in(row, ["question"]),
        options=tuple(options),
        answer=text_in(row, ["answer"]),
        answer_field="answer",
        states_labels=True,
        fields=fields,
        **stated,
    )
    _check_key(content)
    return content


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(text, f"({MARK}.{FIELDS}) is not JSON ({error})") from error


def _checked(value: Any, default: Any, name: str) -> Any:
    if name == "form" and value not in FORMS:
        raise RowError(value, f"({MARK}.form) is none of {', '.join(FORMS)}")
    if isinstance(default, tuple):
        if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            return tuple(value)
    elif isinstance(default, float):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, str):
        return value
    raise RowError(value, f"({MARK}.{name}) is of the wrong kind")


def _check_key(content: Row) -> None:
    """Raise where the stated form and its answer do not go together."""
    of_key = ("form", "accepted", "absolute_tolerance", "relative_tolerance")
    stated = {name: getattr(content, name) for name in ("question", "options", "answer", *of_key)}
    try:
        VQAExample(id="row", images=(), **stated)
    except ValueError as error:
        raise RowError(content.answer, f"(answer) {error}") from error


OWN = RowFamily(
    name="groupwise",
    published="files that `python -m data.convert` wrote",
    known_by=((MARK,), ("question",), ("answer",)),
    fields=(
        Field("images", "a list of paths or of {path, bytes}; empty: a question without an image"),
        Field("question", "the question, without its options"),
        Field("options", "a list of the options' texts in the order of their letters; an open"
              " question has none"),
        Field("answer", "the letter of the right option; of an open question the text or number"),
        Field(MARK, f"an object: `version` ({VERSION}), "
              + ", ".join(f"`{name}`" for name in STATED)
              + f", and `{FIELDS}`, the row's other fields whose names are ours"),
    ),
    read=_read,
    is_stated=True,
)  # fmt: skip
