"""What a report reads: JSON and JSON-lines files, a run that was broken off too; and images."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from data.images import load_image

_PIXELS = 400  # the longer side of an image in the page


def read_json(file: Path) -> Any:
    """Return a JSON file's content.

    Raises:
        ValueError: it cannot be read; the file is named.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}): restore it") from error


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file, one after the other; nothing where there is none.

    A last line without its end, which a run that is broken off leaves, is left out.

    Raises:
        ValueError: another line is no JSON object; file and line are named.
    """
    if not file.is_file():
        return
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line)
            except ValueError as error:
                if not line.endswith("\n"):
                    return
                raise ValueError(f"{file}, line {number}: no JSON ({error}): restore it") from error
            if not isinstance(value, dict):
                raise ValueError(f"{file}, line {number}: {value!r} is no object: restore it")
            yield value


def read_evaluations(directory: Path) -> dict[int, dict[str, Any]]:
    """Return what eval/step-*.json hold, by step, in order."""
    files = sorted((directory / "eval").glob("step-*.json"))
    return {int(file.stem.removeprefix("step-")): read_json(file) for file in files}


def edge_groups(directory: Path) -> list[list[dict[str, Any]]]:
    """Return one group of completions of the first step in rollouts.jsonl and one of the last.

    Of each step the first group whose rewards differ, which is one that taught something, or else
    the first one. Memory holds two steps at a time.
    """
    first: list[dict[str, Any]] = []
    newest: list[dict[str, Any]] = []
    for row in read_lines(directory / "rollouts.jsonl"):
        if newest and row["step"] != newest[0]["step"]:
            first, newest = first or newest, []
        newest.append(row)
    return [_telling_group(rows) for rows in (first, newest) if rows]


def _telling_group(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: list[list[dict[str, Any]]] = []
    for row in rows:  # prompt-major: a group begins with index 0
        if row["index"] == 0 or not groups:
            groups.append([])
        groups[-1].append(row)
    return next((g for g in groups if len({row["reward"] for row in g}) > 1), groups[0])


def image_png(name: str) -> bytes:
    """Return an image that a log names as PNG, no larger than a page needs.

    Args:
        name: a file's path, or a phantom's own name, which is drawn again.

    Raises:
        ValueError: there is no such file or phantom, or it is no image.
    """
    image = load_image(_phantom(name) or Path(name), image_size=0)
    image.thumbnail((_PIXELS, _PIXELS))
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _phantom(name: str) -> Any:
    """Return what draws a phantom of this name, or None."""
    folder, _, rest = name.partition("/")
    part, _, file = rest.partition("/")
    if folder != "phantoms" or Path(name).is_file():
        return None
    from data.phantoms import phantom_examples  # draws with numpy: only where phantoms are shown

    try:
        examples = phantom_examples(part, file.rpartition("-")[0])
    except ValueError:
        return None
    sources = (source for example in examples for source in example.images)
    return next((source for source in sources if str(source) == name), None)
