"""An evaluation directory: summary.json and predictions.jsonl, written whole or not at all."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from evaluation.answers.prediction import Prediction
from process.storage import unused_directory, write_directory


class JsonLine(Protocol):
    """A record that is one line of a file."""

    def to_json(self) -> dict[str, Any]:
        """The line as a dictionary."""
        ...


def json_line(record: JsonLine) -> str:
    """Return a record as one line of a file, its end included."""
    return json.dumps(record.to_json(), ensure_ascii=False, allow_nan=False) + "\n"


def default_directory(model: str) -> Path:
    """Return runs/<date>-<time>-<model>-evaluation, a name that is not taken yet.

    A checkpoint of ours is called after its run, too: step-000100 alone says little.
    """
    path = Path(model)
    parts = [path.name]
    if path.parent.name == "checkpoints":
        parts.insert(0, path.absolute().parent.parent.name)
    name = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.") or "model"
    return unused_directory(f"{name}-evaluation")


def write_evaluation(
    path: Path,
    summary: Mapping[str, Any],
    predictions: Iterable[Prediction],
    thoughts: Sequence[JsonLine] = (),
) -> None:
    """Write all files, or none; thoughts.jsonl only where there are rows of it.

    See `write_directory` for what it raises.
    """
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    files: dict[str, Iterable[str]] = {
        "summary.json": [text, "\n"],
        "predictions.jsonl": map(json_line, predictions),
    }
    if thoughts:
        files["thoughts.jsonl"] = map(json_line, thoughts)
    write_directory(path, files, what="the evaluation")
