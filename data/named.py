"""What a name on the command line means: the embedded data set, a file, or a folder of files."""

from collections.abc import Sequence
from pathlib import Path

from data.reading.files import DataFile, data_files

_PHANTOMS = "phantoms"
# Besides the letters of options, which go without saying: see data/phantoms/askings.py.
ASKED_PHANTOMS = ("open", "yes_no", "count")


def is_phantoms(name: str | Path) -> bool:
    """Return whether ``name`` means the embedded data set, not a file.

    It does so whatever lies in the working directory; ``./phantoms``, and a Path always, is a file.

    >>> is_phantoms("phantoms:CT"), is_phantoms("./phantoms"), is_phantoms(Path("phantoms"))
    (True, False, False)
    """
    if isinstance(name, Path):
        return False
    return name == _PHANTOMS or name.startswith(f"{_PHANTOMS}:")


def phantom_parts(name: str) -> tuple[str, str | None]:
    """Return how ``phantoms:...`` are asked about, and which slice of them, None for all.

    >>> phantom_parts("phantoms:open:CT"), phantom_parts("phantoms:CT"), phantom_parts("phantoms")
    (('open', 'CT'), ('letter', 'CT'), ('letter', None))
    """
    _, *given = (text.strip() for text in name.split(":"))
    asked = given.pop(0) if given and given[0] in ASKED_PHANTOMS else "letter"
    return asked, ":".join(given) if given else None


def named_files(names: Sequence[str | Path]) -> list[DataFile]:
    """Return the files that names mean, a folder's one by one; ``phantoms`` stands for itself.

    Raises:
        ValueError: a folder without any data file.
    """
    found: list[DataFile] = []
    for name in names:
        if is_phantoms(name):
            found.append(DataFile(str(name), str(name)))
        elif is_phantoms(str(name)):  # a Path, which is a file
            found += data_files(f"./{name}")
        else:
            found += data_files(name)
    return found
