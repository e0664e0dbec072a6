"""What all figures share: the empty one, its PNG, colours, plain axes.

No figure touches pyplot, so nothing global is changed and nothing has to be closed. matplotlib is
the extra ``report`` and is imported when a figure is asked for.

Colours are Okabe and Ito's, which stay apart for colour-blind readers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from process.called import install_line
from process.shown import shown_line

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#595959"
DPI = 110
_LONGEST_NAME = 60


class MatplotlibMissingError(ValueError):
    """A figure was asked for and matplotlib is not installed."""


class TooLargeFigureError(ValueError):
    """A figure of more parts than anyone could look at."""


def name_shown(name: str) -> str:
    """Return a name as a figure has it: on one line, its end cut off where it is long.

    >>> len(name_shown("a" * 1000)), name_shown("CT\\x1b")
    (60, 'CT\\\\x1b')
    """
    line = shown_line(name)
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"


@contextmanager
def plain_texts() -> Iterator[None]:
    """Let figures that are made inside take no text for mathematics: names may hold dollars."""
    try:
        from matplotlib import rc_context
    except ImportError:  # `new_figure` says so
        yield
        return
    with rc_context({"text.parse_math": False, "text.usetex": False}):
        yield


def new_figure(width: float, height: float) -> Any:
    """Return an empty Figure of so many inches whose layout keeps every text inside.

    Raises:
        MatplotlibMissingError: saying what to install.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MatplotlibMissingError(
            f"figures need matplotlib ({error}): {install_line('matplotlib')}"
        ) from error
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")


def to_png(figure: Any) -> bytes:
    """Return a figure as a PNG file's bytes, the same for the same figure.

    Drawn at the figure's own dots per inch: `Figure.savefig` would take the user's settings.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def plain_axes(axes: Any) -> None:
    """Leave away what carries no number: two of the four borders; and draw a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
