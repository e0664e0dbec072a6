"""What tells one published format: the table of its fields, and the function that reads a row."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from data.reading.families.row import Row


@dataclass(frozen=True)
class Field:
    """One field of a family: a line of its table in docs/data.md."""

    name: str
    meaning: str  # what it may hold and what becomes of it, one clause
    aliases: tuple[str, ...] = ()  # its names in other files of the family
    shown: str = ""  # the names in docs/data.md, where there are too many for a table

    # Fields that say question, options, answer or images are used up. What else a row holds stays
    # with its example, and so do those fields that only sort rows.
    is_kept: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All names under which a row may have it."""
        return (self.name, *self.aliases)


@dataclass(frozen=True)
class RowFamily:
    """One published format: how its rows are known, and how one is read."""

    name: str
    published: str  # the sources whose files have it, for docs/data.md
    known_by: tuple[tuple[str, ...], ...]  # a row of the family has one field of each
    fields: tuple[Field, ...]
    read: Callable[[dict[str, Any]], Row]  # raises a RowError for a row that has no content
    # The families that a row is of where it fits them as well: their fields include this one's.
    gives_way_to: tuple[str, ...] = ()
    is_stated: bool = False  # the row itself says that it is of this family, and of no other

    @property
    def shown(self) -> str:
        """The fields by which it is known, as messages name them."""
        return ", ".join("|".join(names[:2]) for names in self.known_by)

    @property
    def used(self) -> frozenset[str]:
        """The names of all fields that are used up."""
        return frozenset(name for field in self.fields if not field.is_kept for name in field.names)
