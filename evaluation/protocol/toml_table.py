"""A table of a TOML file that is read key by key; what is wrong in it is noted, not raised."""

from collections.abc import Sequence
from typing import Any

from evaluation.measures.slices import slice_name
from process.toml import as_type, nearest


class CheckedTable:
    """A table of the file; what is wrong in it goes into a list of problems."""

    def __init__(self, values: Any, where: str, problems: list[str]) -> None:
        self._where, self._problems = where, problems
        self._known: list[str] = []
        self._values = values if isinstance(values, dict) else {}
        if not isinstance(values, dict):
            problems.append(f"{where.strip()} is {values!r}: write a table")

    def take(self, key: str, kind: type, default: Any = None) -> Any:
        """Return a value of the kind, or the default; a key without default must be there."""
        self._known.append(key)
        if key not in self._values:
            if default is None:
                self.problem(key, "is missing: add it")
                return kind()
            return default
        value = self._values[key]
        try:
            return as_type(value, kind)
        except TypeError:
            self.problem(key, f"must be of type {kind.__name__}", value)
            return kind()

    def names(
        self,
        key: str,
        allowed: Sequence[Any] | None,
        default: Sequence[Any] | None = None,
        *,
        may_be_empty: bool = False,
    ) -> tuple[Any, ...]:
        """Return a list without duplicates whose items are among the allowed ones."""
        items = tuple(self.take(key, list, None if default is None else list(default)))
        if key not in self._values:
            return items
        items = tuple(slice_name(item) if isinstance(item, str) else item for item in items)
        if not items and not may_be_empty:
            self.problem(key, "is empty: list at least one, or leave the table or key away", [])
        for item in items:
            if allowed is not None and item not in allowed:
                near = nearest(item, allowed)
                hint = f" (is it {near}?)" if near else ""
                one_of = ", ".join(map(str, allowed)) or "what slices names"
                self.problem(key, f"holds {item!r}{hint}: use some of {one_of}")
        for item in [one for place, one in enumerate(items) if one in items[:place]]:
            self.problem(key, f"names {item!r} twice: once is enough")
        return items

    def problem(self, key: str, text: str, *value: Any) -> None:
        """Note what is wrong with a key."""
        shown = f"={value[0]!r}" if value else ""
        self._problems.append(f"{self._where}{key}{shown} {text}")

    def refuse_others(self, more: Sequence[str] = ()) -> None:
        """Note every key that was not taken."""
        for key in self._values:
            if key not in self._known:
                near = nearest(key, [*self._known, *more])
                hint = f"is it {near}?" if near else f"known are {', '.join(self._known)}"
                self._problems.append(f"{self._where}unknown key {key!r}: {hint}")
