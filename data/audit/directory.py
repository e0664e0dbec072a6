"""An audit's directory: audit.json and audit.html, written whole or not at all."""

import json
import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any


def default_directory() -> Path:
    """Return runs/<date>-<time>-audit, a name that is not taken yet."""
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-audit"
    place, number = Path("runs") / stem, 2
    while place.exists():
        place, number = Path("runs") / f"{stem}-{number}", number + 1
    return place


def check_directory(path: Path) -> None:
    """Raise now what would stop `write_audit` after the work.

    Raises:
        ValueError: the path is a file, a directory that holds something, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"output directory {path} is a file: name another --output-dir")
    if path.is_dir() and any(path.iterdir()):
        raise ValueError(
            f"output directory {path} is not empty: name another --output-dir, nothing is written"
            " over"
        )
    parent = next(folder for folder in path.resolve().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ValueError(
            f"output directory {path} cannot be made, {parent} is no folder that you may write to:"
            " name another --output-dir"
        )


def write_audit(path: Path, report: Mapping[str, Any], page: str) -> None:
    """Write both files into a directory beside the place, then rename it into the place.

    Raises:
        ValueError: the place was taken meanwhile, or the disk is full; nothing is left behind.
    """
    place = path.resolve()
    unfinished = place.with_name(f".{place.name}.unfinished-{os.getpid()}")
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        unfinished.mkdir(parents=True)
        (unfinished / "audit.json").write_text(text + "\n", encoding="utf-8")
        (unfinished / "audit.html").write_text(page, encoding="utf-8")
        if place.is_dir():
            place.rmdir()  # refuses one that is not empty
        unfinished.replace(place)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ValueError(
            f"the audit could not be written to {path} ({error}): name another --output-dir"
        ) from error


def read_audit(path: Path) -> dict[str, Any]:
    """Return an earlier audit, given its audit.json or the directory that holds it.

    Raises:
        ValueError: it cannot be read, or is no audit.
    """
    file = path / "audit.json" if path.is_dir() else path
    try:
        report = json.loads(file.read_bytes())
        for pair in report["pairs"].values():
            _ = pair["label"], pair["priors"]["lookup"]["accuracy"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"--beside {path} is no audit ({type(error).__name__}: {error}): name the audit.json"
            " that python -m data.audit wrote"
        ) from error
    return report
