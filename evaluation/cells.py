"""One cell of a matrix on disk: an evaluation directory, and whether it is the one that is wanted.

A cell that is there is used again only if it was made from the same weights, asked in the same way,
on the same rows. Anything else under its name stops the matrix: numbers of two kinds in one table
would mislead, and nothing of the user's is written over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.answers.finished import read_answers, read_summary
from evaluation.answers.identity import Identity
from evaluation.measures.matrices import AnsweredRow
from evaluation.measures.slices import folder_name
from process.leftovers import contents

_ENTRY = ("accuracy", "n", "low", "high")
_ANEW = "remove that folder to evaluate anew, or name another --output-dir"


@dataclass(frozen=True)
class Cell:
    """A place in a matrix and what must have been evaluated there."""

    model: str  # the slice's name
    test: str
    path: Path
    identity: Identity

    def is_done(self) -> bool:
        """Return whether the wanted evaluation lies there; False where nothing does.

        Raises:
            ValueError: the folder holds another evaluation, a damaged one, or no evaluation.
        """
        if not self.path.is_dir() or not contents(self.path):
            return False
        evaluation = self.read_summary().get("evaluation", {})
        if difference := self.identity.difference_from_finished(evaluation):
            raise ValueError(f"cell {self.path} was evaluated with {difference}: {_ANEW}")
        self.read_rows()
        return True

    def read_summary(self) -> dict[str, Any]:
        """Return summary.json.

        Raises:
            ValueError: it cannot be read or lacks what a matrix needs.
        """
        file = self.path / "summary.json"
        try:
            summary = read_summary(self.path)
            overall = summary["overall"]
            known = all(isinstance(overall[name], int | float) for name in _ENTRY)
            if not (known and isinstance(overall["chance"], int | float | None)):
                raise ValueError("overall is not complete")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"cell {file} cannot be read ({type(error).__name__}: {error}): {_ANEW}"
            ) from error
        return summary

    def read_rows(self, control: str | None = None) -> list[AnsweredRow]:
        """Return the answered rows, whose share of right ones is the summary's accuracy.

        Args:
            control: rows as this control asked them; None: as they are.

        Raises:
            ValueError: predictions.jsonl cannot be read, or does not belong to summary.json.
        """
        file, summary = self.path / "predictions.jsonl", self.read_summary()
        try:
            overall = (summary if control is None else summary["controls"][control])["overall"]
            answers = read_answers(self.path)
            rows = [_row(answer) for answer in answers if answer["control"] == control]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"cell {file} cannot be read ({type(error).__name__}: {error}): {_ANEW}"
            ) from error
        right = sum(row.correct for row in rows)
        if len(rows) != overall["n"] or abs(right - overall["accuracy"] * overall["n"]) > 0.5:
            raise ValueError(
                f"cell {file} holds {right} right of {len(rows)}, its summary says"
                f" {overall['accuracy']:.1%} of {overall['n']}: {_ANEW}"
            )
        return rows


def cell_path(matrix: Path, model: str, test: str) -> Path:
    """Return the folder of a cell.

    >>> cell_path(Path("m"), "CT", "Lesion Grading").as_posix()
    'm/cells/CT/Lesion-Grading'
    """
    return matrix / "cells" / folder_name(model) / folder_name(test)


def _row(line: Mapping[str, Any]) -> AnsweredRow:
    # a question without an image stands for itself
    return AnsweredRow(line["id"], tuple(line["images"]) or (line["id"],), bool(line["correct"]))
