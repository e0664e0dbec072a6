"""What stands at one place of a data file, before any family is asked what it means."""

import base64
from dataclasses import dataclass
from typing import Any

DEEPEST = 100  # lists and objects in each other: what writes a row goes down into them


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as its container holds it, and what is wrong with how it is written."""

    value: Any
    problem: str | None = None


def as_json(value: Any) -> Any:
    """Return a row's value as JSON can hold it: bytes, which an image may be, are base64.

    >>> as_json({"image": {"bytes": b"abc", "path": "a.png"}})
    {'image': {'bytes': 'YWJj', 'path': 'a.png'}}
    """
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {name: as_json(one) for name, one in value.items()}
    if isinstance(value, list):
        return [as_json(one) for one in value]
    return value


def is_deep(value: Any) -> bool:
    """Return whether lists and objects lie in each other deeper than any published row's.

    >>> is_deep({"a": [{"b": 1}]}), is_deep(eval("[" * 150 + "]" * 150))
    (False, True)
    """
    level = [value] if isinstance(value, dict | list | tuple) else []
    for _ in range(DEEPEST):
        inner = [
            one for each in level for one in (each.values() if isinstance(each, dict) else each)
        ]
        level = [one for one in inner if isinstance(one, dict | list | tuple)]
        if not level:
            return False
    return True
