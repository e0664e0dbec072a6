"""Rows that cannot be used, and what is said of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SHOWN_ROWS = 5
_SHOWN_CHARACTERS = 160


@dataclass(frozen=True)
class BadRow:
    """A row that could not become an example."""

    file: str
    row: int  # counted from 0, as in the examples' ids
    value: str  # what is wrong, as Python writes it, cut when long
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}: {self.value} {self.reason}"


def bad_rows_report(bad_rows: Sequence[BadRow], counts: Mapping[str, int], hint: str = "") -> str:
    """Return the message about rows that cannot be used: how many, the first few, what to do.

    Args:
        bad_rows: of one or several files.
        counts: file -> how many rows it has.
        hint: what else may help, one clause.
    """
    shown = [f"  - {bad_row}" for bad_row in bad_rows[:_SHOWN_ROWS]]
    if len(bad_rows) > _SHOWN_ROWS:
        more = len(bad_rows) - _SHOWN_ROWS
        shown.append(f"  - and {more:,} more: --show-bad-rows FILE writes all of them, whole")
    bad_counts = Counter(bad_row.file for bad_row in bad_rows)
    files = [file for file in counts if file in bad_counts]
    what_to_do = "correct them, or leave them out with --skip-bad-rows"
    if all_bad := [file for file in files if bad_counts[file] == counts[file]]:
        what_to_do = f"no row is left to use{_of(all_bad, files)}: check that it is the right file"
    total = sum(counts[file] for file in files)
    where = files[0] if len(files) == 1 else f"{len(files)} files"
    head = f"{len(bad_rows):,} of {total:,} rows of {where} cannot be used; {what_to_do}{hint}:"
    return "\n".join([head, *shown])


def _of(some: Sequence[str], files: Sequence[str]) -> str:
    return "" if len(files) == 1 else f" in {some[0]}"


def shorten(text: str, most: int = _SHOWN_CHARACTERS) -> str:
    """Return a text that fits a message: the middle of a long one is left out."""
    if len(text) <= most:
        return text
    return text[: most - 40] + " ... " + text[-35:]
