"""Arguments of a user's reward functions: tables of a TOML file, each called like its function."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from process.flags import flag_of
from process.regular import read_text
from process.toml import parse_toml


@dataclass(frozen=True)
class RewardArguments:
    """What a file says; without a file nothing."""

    text: str = ""
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # function -> arguments

    @classmethod
    def read(cls, file: str) -> "RewardArguments":
        """Return what a file says; that of no file is empty.

        Raises:
            ValueError: it cannot be read, is not TOML, or has a value outside of a table.
        """
        if not file:
            return cls()
        called = f"{flag_of('reward_arguments')} {file}"
        try:
            text = read_text(Path(file))
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{called} cannot be read ({error}): check the path") from error
        tables = parse_toml(text, called)
        if loose := [name for name, table in tables.items() if not isinstance(table, dict)]:
            raise ValueError(
                f"{called}: {', '.join(loose)} stands in no table: write it below [function], the"
                " reward function that it is for"
            )
        return cls(text, tables)
