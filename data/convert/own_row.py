"""An example as a row of our own form, which data/reading/families/own.py reads back."""

from collections.abc import Sequence
from typing import Any

from data.examples import VQAExample
from data.reading.families.own import FIELDS, MARK, OWN, STATED, VERSION

_ORIGINAL = "original_id"


def own_row(example: VQAExample, images: Sequence[Any]) -> dict[str, Any]:
    """Return the row that says what an example says.

    Its other fields stand beside ours under their own names, where ``--only`` finds them. The id
    that it had is one more, `original_id`, unless the row has such a field already.

    Args:
        example: read from a file.
        images: what stands for each of its images.
    """
    mark: dict[str, Any] = {"version": VERSION}
    for name, default in STATED.items():
        if (value := getattr(example, name)) != default or name == "form":
            mark[name] = list(value) if isinstance(value, tuple) else value
    others = {_ORIGINAL: example.id, **example.fields}
    if taken := {name: value for name, value in others.items() if name in OWN.used}:
        mark[FIELDS] = taken
    row = {
        "images": list(images),
        "question": example.question,
        "options": list(example.options),
        "answer": example.answer,
        MARK: mark,
    }
    return row | {name: value for name, value in others.items() if name not in taken}
