"""What a report leaves out of what it is of: counted by kind, the first of each named."""

from process.shown import shown_line

_LONGEST = 1000  # characters of a reason, which may hold a foreign name


class LeftOut:
    """What could not be shown."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._counts: dict[str, int] = {}
        self._firsts: dict[str, str] = {}

    def add(self, kind: str, what: str) -> None:
        """Count one more of a kind, such as "lines"; ``what`` says which one it is, and why."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._firsts.setdefault(kind, shown_line(what)[:_LONGEST])

    @property
    def sentences(self) -> list[str]:
        """One text per kind.

        >>> found = LeftOut()
        >>> found.add("lines", "metrics.jsonl, line 2: no JSON")
        >>> found.sentences
        ['left out, lines: 1; the first: metrics.jsonl, line 2: no JSON']
        """
        return [
            f"left out, {kind}: {count:,}; the first: {self._firsts[kind]}"
            for kind, count in self._counts.items()
        ]
