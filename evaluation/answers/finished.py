"""A finished evaluation's directory: written whole or not at all, and read back.

summary.json        accuracies, and `evaluation`: who was asked what, how and where
predictions.jsonl   one line per answer
thoughts.jsonl      one line per answer that was read again under other thoughts, if any was
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from evaluation.answers.prediction import Prediction, check_fields
from process.places import unused_directory
from process.regular import open_inside, read_at_most
from process.storage import json_text, write_directory

# Of files that may be someone else's no more is read at once:
OBJECT_BYTES = 64 << 20  # of a file that is one object of JSON
LINE_BYTES = 16 << 20  # of one line of JSON


class JsonLine(Protocol):
    """A record that is one line of a file."""

    def to_json(self) -> dict[str, Any]:
        """The line as a dictionary."""
        ...


def json_line(record: JsonLine) -> str:
    """Return a record as one line of a file, its end included."""
    return json_text(record.to_json())


def default_directory(model: str) -> Path:
    """Return runs/<date>-<time>-<model>-evaluation, a name that is not taken yet."""
    return unused_directory(f"{model_name(model)}-evaluation")


def model_name(model: str) -> str:
    """Return a model's name as a file can have it.

    A checkpoint of ours is called after its run, too: step-000100 alone says little.

    >>> model_name("runs/ct/checkpoints/step-000100")
    'ct-step-000100'
    """
    path = Path(model)
    parts = [path.name]
    if path.parent.name == "checkpoints":
        parts.insert(0, path.absolute().parent.parent.name)
    return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.") or "model"


def write_evaluation(
    path: Path,
    summary: Mapping[str, Any],
    predictions: Iterable[Prediction],
    thoughts: Sequence[JsonLine] = (),
    more: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Write all files, or none; thoughts.jsonl only where there are rows of it.

    See `write_directory` for what it raises.

    Args:
        path: the place.
        summary: summary.json.
        predictions: lines of predictions.jsonl.
        thoughts: lines of thoughts.jsonl.
        more: files of other names, in pieces.
    """
    files: dict[str, Iterable[str]] = {
        **(more or {}),
        "summary.json": [json_text(summary, indent=2)],
        "predictions.jsonl": map(json_line, predictions),
    }
    if thoughts:
        files["thoughts.jsonl"] = map(json_line, thoughts)
    write_directory(path, files, what="the evaluation")


@dataclass(frozen=True)
class Evaluation:
    """What evaluate.py wrote into one directory."""

    path: Path
    about: Mapping[str, Any]  # summary.json's `evaluation`: model, mode, data
    rows: tuple[Prediction, ...]  # asked as they stand in the data; controls and orders left out


def read_evaluation(path: str | Path) -> Evaluation:
    """Return a finished evaluation, of this version or another.

    Raises:
        ValueError: the directory holds none, or a damaged one.
    """
    path, known = Path(path), {item.name for item in fields(Prediction)}
    rows = []
    try:
        about = read_summary(path)["evaluation"]
        if not isinstance(about, dict):
            raise TypeError("summary.json's evaluation is no object")
        for line in read_answers(path):
            fields_known = {name: line[name] for name in line if name in known}
            check_fields(fields_known)
            rows.append(Prediction.from_json(fields_known))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} holds no finished evaluation ({type(error).__name__}: {error}): name a"
            " directory that evaluate.py wrote, with summary.json and predictions.jsonl"
        ) from error
    return Evaluation(path, about, tuple(item for item in rows if item.is_plain))


def read_summary(directory: Path) -> dict[str, Any]:
    """Return summary.json; OSError, ValueError and RecursionError where it cannot be read."""
    with open_inside(directory, "summary.json") as stream:
        return json.loads(read_at_most(stream, OBJECT_BYTES).decode("utf-8"))


def read_answers(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of predictions.jsonl; OSError and ValueError where it cannot be read."""
    with open_inside(directory, "predictions.jsonl") as stream:
        lines = iter(lambda: stream.readline(LINE_BYTES), b"")  # a longer one is cut: no JSON
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise ValueError(f"predictions.jsonl, line {number}: {error}") from error
