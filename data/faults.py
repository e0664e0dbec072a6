"""What is wrong with a row that was read: it could not be shown to a model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from data.examples import VQAExample
from data.images import MISSING
from data.published import where_published
from data.reading.bad_rows import BadRow
from process.shown import shown_line

_SHOWN_NAMES = 3
_IMAGE = "image "  # begins the value of a fault of an image


@dataclass(frozen=True)
class Fault:
    """What is wrong with one row."""

    value: str  # the image, or the text
    reason: str

    @classmethod
    def of_image(cls, name: str, reason: str) -> "Fault":
        """Return the fault of a row one of whose images cannot be shown."""
        return cls(f"{_IMAGE}{name}", reason)


# examples -> faults by the examples' ids; evaluation/asking/preflight.py has the one of training
FindFaults = Callable[[Sequence[VQAExample]], Mapping[str, Fault]]


def missing_images(bad: Iterable[BadRow]) -> list[str]:
    """Return the image files that bad rows name and that are not there, each once."""
    found = (row.value.removeprefix(_IMAGE) for row in bad if row.reason == MISSING)
    return list(dict.fromkeys(found))


def missing_hint(bad: Sequence[BadRow], num_images: int) -> str:
    """Return what may help where image files are missing, a clause for a message; else "".

    Args:
        bad: rows of one or several files.
        num_images: how many image files the rows of these files name.
    """
    missing = missing_images(bad)
    if not missing:
        return ""
    names = ", ".join(map(shown_line, missing[:_SHOWN_NAMES])) + ", ..." * (
        len(missing) > _SHOWN_NAMES
    )
    published = where_published([*missing, *(row.file for row in bad)])
    places = "".join(f". {one.name}: {one.where}" for one in published)
    return (
        f"; {len(missing):,} of {num_images:,} image files are missing: is --image-root the folder"
        " under which the rows' paths begin, most often the one that holds Images/? Missing are"
        f" {names}{places}"
    )
