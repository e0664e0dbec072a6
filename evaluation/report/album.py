"""The figures of one report: inside the page, and kept as PNG files beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from evaluation.measures.slices import folder_name
from evaluation.report.figures.shared import (
    MatplotlibMissingError,
    TooLargeFigureError,
    plain_texts,
    to_png,
)
from process.called import install_line, module_line
from process.storage import replacing
from process.tables.document import figure, paragraph

_LONGEST_NAME = 150  # of a file's name, which a file system bounds


class Album:
    """Draws figures where matplotlib is there, and remembers them by name."""

    def __init__(self, directory: Path) -> None:
        """Start empty; the directory is what the report is of."""
        self._directory = directory
        self.figures: dict[str, bytes] = {}
        self.without_matplotlib = False

    def add(self, name: str, draw: Callable[[], Any], text: str) -> str:
        """Return the HTML of a figure; without matplotlib once a line that says what to install.

        Args:
            name: the PNG's, without its ending.
            draw: makes the matplotlib Figure.
            text: says what is seen, to those who do not see it and as the caption.
        """
        if self.without_matplotlib:
            return ""
        try:
            with plain_texts():
                self.figures[name] = to_png(draw())
        except TooLargeFigureError as error:
            return paragraph(f"A figure is not drawn: {error}.", "note")
        except MatplotlibMissingError:
            self.without_matplotlib = True
            # the page may be opened anywhere, so the directory stands whole in the command
            again = module_line("evaluation.report", str(self._directory.resolve()))
            return paragraph(
                "This page has no figures: matplotlib is missing. For them:"
                f" {install_line('matplotlib')} && {again}",
                "note",
            )
        return figure(self.figures[name], text)

    def save(self, folder: Path) -> None:
        """Write the figures as PNG files."""
        if self.figures:
            folder.mkdir(exist_ok=True)
        taken: set[str] = set()
        for name, data in self.figures.items():
            stem = folder_name(name)[:_LONGEST_NAME]
            if stem in taken:
                stem = f"{stem}-{len(taken)}"
            taken.add(stem)
            with replacing(folder / f"{stem}.png") as unfinished:
                unfinished.write_bytes(data)
