"""Which step of a run did best on the held-out questions; its checkpoint is never removed.

Nothing is remembered from one evaluation to the next: the best is read off eval/step-*.json, so a
resumed run, which cuts what came after its checkpoint, finds the same one.

    checkpoints/best.json    {"step": 100, "accuracy": 0.84, "checkpoint": "step-000100"}
"""

import json
from dataclasses import dataclass
from pathlib import Path

from process.disk import make_folder
from process.regular import read_text
from process.storage import write_json


@dataclass(frozen=True)
class Best:
    """The evaluation with the highest held-out accuracy, the earliest of equals."""

    step: int  # 0: the start model itself
    accuracy: float


def find_best(run: Path) -> Best | None:
    """Return the best of the run's evaluations; None where there is none yet."""
    found = []
    for file in (run / "eval").glob("step-*.json"):
        summary = json.loads(read_text(file))
        found.append(Best(int(file.stem.split("-")[1]), summary["overall"]["accuracy"]))
    return max(found, key=lambda best: (best.accuracy, -best.step), default=None)


def write_best(run: Path, best: Best) -> None:
    """Write checkpoints/best.json; ``checkpoint`` is null where the start model did best."""
    folder = run / "checkpoints"
    make_folder(folder)
    name = f"step-{best.step:06d}"
    checkpoint = name if (folder / name).is_dir() else None
    record = {"step": best.step, "accuracy": best.accuracy, "checkpoint": checkpoint}
    write_json(folder / "best.json", record)
