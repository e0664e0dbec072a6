"""Two inventories compared: what is gone, what is another, what came."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Path = tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """One line per entry; a whole command, flag or file that is gone or new is one line."""

    missing: list[str]
    changed: list[str]
    new: list[str]

    def __str__(self) -> str:
        """Name every entry, and the way on."""
        parts = []
        if self.missing or self.changed:
            parts += ["missing: " + line for line in self.missing]
            parts += ["changed: " + line for line in self.changed]
            parts.append(
                "These were there before, and people rely on them: bring them back. Where one is to"
                " go or to change for a reason, edit its entry in tests/golden/inventory.json by"
                " hand, run python scripts/make_inventory.py, and say the reason in the commit."
            )
        if self.new:
            parts += ["new: " + line for line in self.new]
            parts.append("If these are meant: python scripts/make_inventory.py takes them up.")
        return "\n".join(parts)


def compare(kept: Mapping[str, Any], found: Mapping[str, Any]) -> Difference:
    """Return what the inventory that is kept and the one that was found now do not share."""
    before, now = dict(_leaves(kept)), dict(_leaves(found))
    both = sorted(before.keys() & now.keys())
    return Difference(
        missing=_only_in(before, now),
        changed=[
            f"{_named(path)}\n    before: {before[path]}\n    now:    {now[path]}"
            for path in both
            if before[path] != now[path]
        ],
        new=_only_in(now, before),
    )


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every entry with its path; the entries of a list are in no order."""
    yield path, "" if isinstance(value, Mapping | list) else value
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, list):
        yield from (((*path, item), "") for item in value)


def _only_in(here: Mapping[Path, Any], there: Mapping[Path, Any]) -> list[str]:
    """Return the paths that only one side has, without what lies below another of them."""
    gone = (path for path in here if path not in there and path[:-1] in there)
    return sorted(_named(path) for path in gone)


def _named(path: Path) -> str:
    return " > ".join(path)
