"""What stands at one place of a data file, before any family is asked what it means."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as its container holds it, and what is wrong with how it is written."""

    value: Any
    problem: str | None = None
