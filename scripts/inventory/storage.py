"""The text of tests/golden/inventory.json: what many files have in common stands there once."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_AS = "as "  # before the command and file that has the same contents
_WIDTH = 100


def dump(inventory: Mapping[str, Any]) -> str:
    """Return an inventory as JSON in which a reader sees what a change changes."""
    return "\n".join(_lines({**inventory, "files": _shortened(inventory["files"])}, "")) + "\n"


def load(text: str) -> dict[str, Any]:
    """Return the inventory of such a text, every file with its contents."""
    inventory = json.loads(text)
    of_commands = inventory["files"]
    whole = {
        f"{_AS}{command}: {path}": contents
        for command, files in of_commands.items()
        for path, contents in files.items()
        if not isinstance(contents, str)
    }
    for files in of_commands.values():
        for path, contents in files.items():
            files[path] = whole[contents] if isinstance(contents, str) else contents
    return inventory


def _shortened(of_commands: Mapping[str, Any]) -> dict[str, Any]:
    first: dict[str, str] = {}
    shortened: dict[str, Any] = {}
    for command, files in sorted(of_commands.items()):
        shortened[command] = {}
        for path, contents in sorted(files.items()):
            name = first.setdefault(json.dumps(contents), f"{_AS}{command}: {path}")
            seen = contents and name != f"{_AS}{command}: {path}"
            shortened[command][path] = name if seen else contents
    return shortened


def _lines(value: Any, indent: str) -> Iterator[str]:
    """Yield JSON's lines: one entry of an object each; the names of a list fill a line."""
    inner = indent + " "
    if isinstance(value, Mapping) and value:
        yield "{"
        for number, (name, one) in enumerate(sorted(value.items()), start=1):
            first, *others = _lines(one, inner)
            lines = [f"{inner}{json.dumps(name, ensure_ascii=False)}: {first}", *others]
            yield from [*lines[:-1], lines[-1] + ("," if number < len(value) else "")]
        yield indent + "}"
    elif isinstance(value, list):
        rows = [""]
        for name in json.dumps(value, ensure_ascii=False, indent=0).splitlines()[1:-1]:
            if rows[-1] and len(inner) + len(rows[-1]) + len(name) >= _WIDTH:
                rows.append("")
            rows[-1] = f"{rows[-1]} {name}".strip()
        if len(rows) == 1:
            yield f"[{rows[0]}]"
        else:
            yield from ("[", *(inner + row for row in rows), indent + "]")
    else:
        yield json.dumps(value, ensure_ascii=False)
