"""Converted rows as JSON Lines: images that stand in rows become files beside it."""

from contextlib import ExitStack
from pathlib import Path

from data.convert.own_row import own_row
from data.convert.pictures import PictureFolder
from data.convert.source_rows import SourceRows
from process.naming import naming
from process.output import ERRORS
from process.storage import finite_or_null, json_text, remove_folder, replacing


def picture_folder(out: Path) -> Path:
    """Return where the images go that stand in rows."""
    return out.with_name(f"{out.name.split('.')[0]}_images")


def write_json_lines(rows: SourceRows, out: Path) -> PictureFolder:
    """Write the file, and a folder beside it if any row holds an image; or nothing.

    Raises:
        ValueError: bad rows, or images that no one image root leads to.
    """
    pictures = PictureFolder(picture_folder(out), rows.image_root)
    try:
        with naming(out), ExitStack() as stack:
            # the folder, which is begun later, is put in its place before the file that names it
            unfinished = stack.enter_context(replacing(out, to_disk=True, may_end=True))
            with unfinished.open("w", encoding="utf-8", errors=ERRORS) as stream:
                for example in rows:
                    row = own_row(example, pictures.paths(example, stack))
                    stream.write(json_text(finite_or_null(row)))
    except BaseException:
        if not out.exists():  # the file could not follow its folder
            remove_folder(pictures.place)
        raise
    return pictures
