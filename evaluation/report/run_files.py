"""What a report reads: JSON and JSON-lines files, those of a run that was broken off too."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_json_object(file: Path) -> dict[str, Any]:
    """Return the object of a JSON file.

    Raises:
        ValueError: it cannot be read or holds something else; the file is named.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}): restore it") from error
    if not isinstance(value, dict):
        raise ValueError(f"{file} holds {type(value).__name__}, no object: restore it")
    return value


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file, one after the other; nothing where there is none.

    A last line without its end, which a run that is broken off leaves, is left out.

    Raises:
        ValueError: another line is no JSON object; file and line are named.
    """
    if not file.is_file():
        return
    with file.open("rb") as lines:  # a last line may end inside a character
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line.decode("utf-8"))
            except ValueError as error:
                if not line.endswith(b"\n"):
                    return
                raise ValueError(f"{file}, line {number}: no JSON ({error}): restore it") from error
            if not isinstance(value, dict):
                raise ValueError(f"{file}, line {number}: {value!r} is no object: restore it")
            yield value


def read_evaluations(directory: Path) -> dict[int, dict[str, Any]]:
    """Return what eval/step-*.json hold, by step, in order.

    Raises:
        ValueError: a file that cannot be read, or whose name has no step; it is named.
    """
    found = {}
    for file in (directory / "eval").glob("step-*.json"):
        match = re.fullmatch(r"step-(\d+)", file.stem)
        if match is None:
            raise ValueError(
                f"{file}: its name has no step, like step-000100.json: rename it, or move it out of"
                f" {file.parent}"
            )
        found[int(match[1])] = read_json_object(file)
    return dict(sorted(found.items()))
