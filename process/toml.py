"""What all TOML files of ours have in common: how one is read, and what a value must be.

A file is checked by who knows its keys: a run's settings (grpo/settings/toml_file.py), a protocol
(evaluation/protocol/protocol_file.py).
"""

import difflib
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from process.regular import read_text


def read_toml_file(path: Path, called: str, shipped: str) -> dict[str, Any]:
    """Return what a TOML file holds.

    Args:
        path: of the file.
        called: what messages call it, ``config my.toml``.
        shipped: the names of the files that ship, for a message.

    Raises:
        ValueError: it cannot be read, or is not TOML.
    """
    try:
        return parse_toml(read_text(path), called)
    except OSError as error:
        raise ValueError(
            f"{called} cannot be read ({error}): check the path, or name one that ships: {shipped}"
        ) from error
    except UnicodeDecodeError as error:
        raise _no_toml(called, error) from error


def parse_toml(text: str, called: str) -> dict[str, Any]:
    """Return what a text in TOML holds.

    Raises:
        ValueError: it is none; the message begins with what it is called.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(called, error) from error


def _no_toml(called: str, error: ValueError) -> ValueError:
    return ValueError(f"{called} is not TOML ({error}): correct it")


def as_type(value: Any, hint: Any) -> Any:
    """Return a value as a field of this type holds it.

    A whole number is good as a float, true and false as no number; a tuple is written as a list.

    >>> as_type(1, float), as_type(["a"], tuple[str, ...]), as_type(None, bool | None)
    (1.0, ('a',), None)
    >>> as_type(200, int | str), as_type("30m", int | str)
    (200, '30m')

    Raises:
        TypeError: it is of another type.
    """
    if isinstance(hint, UnionType):
        return _as_one_of(value, get_args(hint))
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError
        return tuple(as_type(item, get_args(hint)[0]) for item in value)
    if isinstance(value, bool) and hint is not bool:
        raise TypeError
    if hint is float and isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError as error:  # an int of hundreds of digits
            raise TypeError from error
    if not isinstance(value, hint if isinstance(hint, type) else str):  # a Literal's are names
        raise TypeError
    return value


def _as_one_of(value: Any, hints: Iterable[Any]) -> Any:
    for hint in hints:
        if hint is type(None):
            if value is None:
                return None
            continue
        with suppress(TypeError):
            return as_type(value, hint)
    raise TypeError


def nearest(name: Any, known: Iterable[Any]) -> str | None:
    """Return the known name that a misspelled one may stand for.

    >>> nearest("modalty", ["modality", "steps"]), nearest("x", ["steps"])
    ('modality', None)
    """
    return next(iter(difflib.get_close_matches(str(name), list(map(str, known)), n=1)), None)
