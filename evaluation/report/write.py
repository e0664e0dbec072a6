"""From a directory to its report.html and figures/*.png."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evaluation.report.album import Album
from evaluation.report.evaluation_page import evaluation_sections
from evaluation.report.matrix_page import matrix_sections
from evaluation.report.protocol_page import protocol_sections
from evaluation.report.run_page import run_sections
from process.called import install_line, module_line
from process.signals import held
from process.storage import write_text
from process.tables.document import document

REPORT = "report.html"

# What tells a directory's kind, and who writes its page.
_KINDS: dict[str, Callable[[Path, Album], list[str]]] = {
    "run.json": run_sections,
    "summary.json": evaluation_sections,
    "matrix.json": matrix_sections,
    "protocol.json": protocol_sections,
}


@dataclass(frozen=True)
class Report:
    """What was written."""

    path: Path
    figures: int
    without_matplotlib: bool

    @property
    def line(self) -> str:
        """One line that says where the page is, and what it lacks."""
        if self.without_matplotlib:
            again = module_line("evaluation.report", str(self.path.parent))
            way = f"{install_line('matplotlib')} && {again}"
            return f"report: {self.path} (without figures; for them: {way})"
        return f"report: {self.path}"


def write_report(directory: str | Path) -> Report:
    """Write report.html and its figures into the directory of a run, an evaluation, a matrix or a
    protocol.

    An old page is replaced.

    Raises:
        ValueError: the directory is none of these, or a file in it cannot be read or is not what
            it should be.
        OSError: the page cannot be written.
    """
    directory = Path(directory)
    name = next((name for name in _KINDS if (directory / name).is_file()), None)
    if name is None:
        raise ValueError(
            f"{directory} has none of {', '.join(_KINDS)}: name the --output-dir of train.py or"
            " evaluate.py, of one that is done"
        )
    album = Album(directory)
    try:
        sections = _KINDS[name](directory, album)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{directory}: {name} or a file beside it lacks what it should hold"
            f" ({type(error).__name__}: {error}): it is from another version, or was changed by"
            " hand"
        ) from error
    file = directory / REPORT
    album.save(directory / "figures")
    write_text(file, document(directory.resolve().name, sections))
    return Report(file, len(album.figures), album.without_matplotlib)


def report_finished(directory: Path) -> None:
    """Write the report of what is saved already and say where it is; a failure is a warning.

    A signal waits for its end: no command makes it again for work that is done.
    """
    try:
        with held():
            print(write_report(directory).line)
    except Exception as error:  # no page is worth the exit status of a run
        reason = f"{type(error).__name__}: {error}"
        again = module_line("evaluation.report", str(directory))
        print(f"warning: no {REPORT} ({reason}); make it with {again}", file=sys.stderr)
