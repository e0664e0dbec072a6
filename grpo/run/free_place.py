"""The folder of a fresh run: the one that is named, or one of its own below runs/."""

import re
from contextlib import ExitStack, suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from grpo.run.unsaved import is_unsaved
from process.leftovers import contents
from process.owner import OwnedError, check_free, owned
from process.places import check_can_be_made, check_no_file
from process.ranks import first_alone


@first_alone("choosing the output directory")
def free_place(output_dir: str, model: str) -> str:
    """Return the given folder, or runs/<date>-<time>-<model>, nothing being made yet.

    Raises:
        ValueError: as `RunDirectory.choose`.
    """
    path = Path(output_dir) if output_dir else _default_path(model)
    if output_dir:
        check_no_file(path)
        if path.is_dir():
            check_free(path)
            check_empty(path)
    check_can_be_made(path)
    return str(path)


def _default_path(model: str) -> Path:
    name = re.sub(r"[^A-Za-z0-9.]+", "-", Path(model).name).strip("-") or "model"
    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{name}"


def own_fresh(path: Path, stack: ExitStack) -> Path:
    """Own and return path, or path-2, path-3, ..: runs started together never share one."""
    for number in count(1):  # pragma: no branch - count() does not end
        place = path if number == 1 else path.with_name(f"{path.name}-{number}")
        if not place.exists():
            with suppress(OwnedError):  # it was made this very moment
                stack.enter_context(owned(place))
                return place
    raise AssertionError("count() does not end")


def check_empty(path: Path) -> None:
    """Raise a ValueError where a folder holds something, which may be another run."""
    if [name for name in contents(path) if not is_unsaved(name)]:
        has_run = (path / "run.json").is_file()
        way = ""
        if has_run:
            has_checkpoint = any(path.glob("checkpoints/step-*"))
            way = f", or go on in it with --resume {path}" if has_checkpoint else ", or remove it"
        raise ValueError(
            f"output directory {path} {'holds another run' if has_run else 'is not empty'}: name"
            f" another --output-dir{way}"
        )
