"""How often samples of each row were right: passes.jsonl, from which a curation goes on.

One line per row, in the rows' order. Lines are added batch by batch, so that a process killed at
any moment loses one batch.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from process.lines import append_whole, say_damaged
from process.output import ERRORS
from process.regular import read_bytes
from process.storage import json_text, write_text


@dataclass(frozen=True)
class Passes:
    """What was sampled for one row: a line of passes.jsonl."""

    id: str
    passes: int  # right ones among the samples with the image
    blank_passes: int | None  # the same with the image blank; None: it has no image
    unreadable: str | None = None  # why it could not be sampled when its turn came


class PassesFile:
    """The rows that are sampled already, in memory and in their file."""

    def __init__(self, file: Path, ids: Sequence[str], *, is_looked_at: bool = True) -> None:
        """Read the whole lines of the file, if it is there; nothing is written.

        Args:
            file: passes.jsonl.
            ids: of all rows, in their order.
            is_looked_at: False where another process keeps the rows.

        Raises:
            ValueError: the file cannot be read, or is about other rows.
        """
        self._file = file
        self.rows = _whole_lines(file) if is_looked_at and file.exists() else []
        if [item.id for item in self.rows] != list(ids[: len(self.rows)]):
            raise ValueError(
                f"{file} is about other rows than the data: remove its directory to sample anew"
            )

    def __len__(self) -> int:
        """Rows so far."""
        return len(self.rows)

    def keep(self, count: int) -> int:
        """Return ``count``, having forgotten all rows behind it, and a line that was cut off."""
        del self.rows[count:]
        write_text(self._file, _lines(self.rows))
        return count

    def append(self, rows: Sequence[Passes]) -> None:
        """Add the next rows."""
        append_whole(self._file, _lines(rows).encode("utf-8", ERRORS))
        self.rows += rows


def _whole_lines(file: Path) -> list[Passes]:
    """Return the rows up to a line that was cut off, or was damaged, which is said."""
    rows: list[Passes] = []
    for number, line in enumerate(read_bytes(file).split(b"\n")[:-1], 1):
        try:
            rows.append(Passes(**json.loads(line)))
        except (ValueError, TypeError) as error:
            if not rows:
                raise ValueError(
                    f"{file} cannot be read ({error}): remove its directory to sample anew"
                ) from error
            say_damaged(file, number)
            break
    return rows


def _lines(rows: Iterable[Passes]) -> str:
    return "".join(json_text(asdict(item)) for item in rows)
