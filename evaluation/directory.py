"""An evaluation directory: summary.json and predictions.jsonl, written whole or not at all."""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from evaluation.predictions import Prediction


def default_directory(model: str) -> Path:
    """Return runs/<date>-<time>-<model>-evaluation, a name that is not taken yet.

    A checkpoint of ours is called after its run, too: step-000100 alone says little.
    """
    path = Path(model)
    parts = [path.name]
    if path.parent.name == "checkpoints":
        parts.insert(0, path.absolute().parent.parent.name)
    name = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.") or "model"
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{name}-evaluation"
    place, number = Path("runs") / stem, 2
    while place.exists():
        place, number = Path("runs") / f"{stem}-{number}", number + 1
    return place


def check_directory(path: Path) -> None:
    """Raise now what would stop `write_evaluation` after all the questions were answered.

    Raises:
        ValueError: the path is a file, a mount point, a directory that holds something (another
            evaluation, a run), or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"output directory {path} is a file: name another --output-dir")
    try:
        if path.is_dir() and any(path.iterdir()):
            raise ValueError(
                f"output directory {path} holds {_content(path)}: name another --output-dir,"
                " nothing is written over"
            )
        if path.is_dir() and path.resolve().is_mount():
            raise ValueError(
                f"output directory {path} is a mount point, which cannot be replaced: name a"
                " directory inside it"
            )
    except OSError as error:
        raise ValueError(
            f"output directory {path} cannot be used ({error}): name another --output-dir"
        ) from error
    parent = next(folder for folder in path.resolve().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ValueError(
            f"output directory {path} cannot be made, {parent} is no folder that you may write to:"
            " name another --output-dir"
        )


def write_evaluation(
    path: Path, summary: Mapping[str, Any], predictions: Sequence[Prediction]
) -> None:
    """Write both files into a directory beside the place, then rename it into the place.

    Raises:
        ValueError: the place was taken meanwhile, or the disk is full; nothing is left behind.
    """
    unfinished = _unfinished(path)
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    lines = (
        json.dumps(item.to_json(), ensure_ascii=False, allow_nan=False) for item in predictions
    )
    try:
        unfinished.mkdir(parents=True)
        (unfinished / "summary.json").write_text(text + "\n", encoding="utf-8")
        with (unfinished / "predictions.jsonl").open("w", encoding="utf-8") as stream:
            stream.writelines(line + "\n" for line in lines)
        if path.is_dir():
            path.resolve().rmdir()  # refuses one that is not empty
        unfinished.replace(path.resolve())
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ValueError(
            f"the evaluation could not be written to {path} ({error}): name another --output-dir"
        ) from error


def _unfinished(path: Path) -> Path:
    place = path.resolve()
    return place.with_name(f".{place.name}.unfinished-{os.getpid()}")


def _content(path: Path) -> str:
    if (path / "summary.json").exists():
        return "another evaluation"
    if (path / "run.json").exists():
        return "a run"
    return f"files ({min(entry.name for entry in path.iterdir())} ..)"
