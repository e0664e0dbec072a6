"""From a directory to its report.html and figures/*.png."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evaluation.report.album import Album
from evaluation.report.evaluation_page import evaluation_sections
from evaluation.report.matrix_page import matrix_sections
from evaluation.report.protocol_page import protocol_sections
from evaluation.report.run_files import DamagedFileError, RunFiles
from evaluation.report.run_page import run_sections
from process.bars import warn
from process.called import install_line, module_line
from process.signals import held
from process.storage import write_text
from process.tables.document import bullets, document, section

REPORT = "report.html"

# What tells a directory's kind, and who writes its page; the first two show images.
_KINDS: dict[str, Callable[..., list[str]]] = {
    "run.json": run_sections,
    "summary.json": evaluation_sections,
    "matrix.json": matrix_sections,
    "protocol.json": protocol_sections,
}
_WITH_IMAGES = ("run.json", "summary.json")
# What a file that holds other things than ours leads to, somewhere in the work on it.
_OF_OTHER_CONTENT = (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True)
class Report:
    """What was written."""

    path: Path
    figures: int
    without_matplotlib: bool
    left_out: tuple[str, ...] = ()  # a sentence for each kind of what could not be shown

    @property
    def line(self) -> str:
        """One line that says where the page is, and what it lacks."""
        if self.without_matplotlib:
            again = module_line("evaluation.report", str(self.path.parent))
            way = f"{install_line('matplotlib')} && {again}"
            return f"report: {self.path} (without figures; for them: {way})"
        return f"report: {self.path}"


def write_report(directory: str | Path, image_root: str | Path | None = None) -> Report:
    """Write report.html and its figures into the directory of a run, an evaluation, a matrix or a
    protocol.

    An old page is replaced.

    Args:
        directory: anyone's; RunFiles says what is read of it, ReportImages which images are.
        image_root: the folder of the images, instead of the one that the directory names.

    Raises:
        ValueError: the directory is none of these, or a file in it cannot be read or is not what
            it should be.
        OSError: the page cannot be written.
    """
    directory = Path(directory)
    name = next((name for name in _KINDS if (directory / name).exists()), None)
    if name is None:
        raise ValueError(
            f"{directory} has none of {', '.join(_KINDS)}: name the --output-dir of train.py or"
            " evaluate.py, of one that is done"
        )
    files, album = RunFiles(directory), Album(directory)
    try:
        if name in _WITH_IMAGES:
            root = None if image_root is None else Path(image_root)
            sections = _KINDS[name](files, album, root)
        else:
            sections = _KINDS[name](files, album)
    except DamagedFileError:
        raise
    except (ValueError, *_OF_OTHER_CONTENT) as error:
        raise ValueError(
            f"{directory}: {name} or a file beside it lacks what it should hold"
            f" ({type(error).__name__}: {error}): it is from another version, or was changed by"
            " hand"
        ) from error
    file, left_out = directory / REPORT, files.left_out.sentences
    if (figures := directory / "figures").is_symlink():
        left_out.append(f"left out, files: {figures} is a link; the page has the figures")
    else:
        album.save(figures)
    sections.insert(0, section("Left out", bullets(left_out)))
    write_text(file, document(directory.resolve().name, sections))
    return Report(file, len(album.figures), album.without_matplotlib, tuple(left_out))


def tell(report: Report) -> None:
    """Print where a page is, and what is not on it."""
    print(report.line)
    for sentence in report.left_out:
        warn(sentence)


def report_finished(directory: Path, image_root: str | Path | None = None) -> None:
    """Write the report of what is saved already and say where it is; a failure is a warning.

    A signal waits for its end: no command makes it again for work that is done.

    Args:
        directory: what was written just now.
        image_root: the folder of the images, as its user named it.
    """
    try:
        with held():
            tell(write_report(directory, image_root or None))
    except Exception as error:  # no page is worth the exit status of a run
        reason = f"{type(error).__name__}: {error}"
        again = module_line("evaluation.report", str(directory))
        warn(f"no {REPORT} ({reason}); make it with {again}")
