"""Where a curation goes: a new directory, or one that it was begun in. Nothing imports torch."""

from pathlib import Path

from process.storage import check_can_be_made

SETTINGS = "settings.json"  # what a curation was begun with


def check_place(directory: Path) -> None:
    """Raise a ValueError for a directory that holds something, and no curation to go on with."""
    if (directory / "summary.json").exists():
        raise ValueError(
            f"output directory {directory} holds a finished curation: name another --output-dir"
        )
    if (directory / SETTINGS).exists():
        return
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(
            f"output directory {directory} holds something else: name another --output-dir"
        )
    check_can_be_made(directory)
