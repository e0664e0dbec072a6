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


def find_best(run: Path, until: float = float("inf")) -> Best | None:
    """Return the best of the run's evaluations; None where there is none yet.

    Args:
        run: its directory.
        until: what was evaluated after so many steps is left out.

    Raises:
        ValueError: naming a file that is none of an evaluation.
    """
    files = {_step_of(file): file for file in (run / "eval").glob("step-*.json")}
    found = [Best(step, _accuracy(file)) for step, file in files.items() if step <= until]
    return max(found, key=lambda best: (best.accuracy, -best.step), default=None)


def write_best(run: Path, best: Best | None) -> None:
    """Write checkpoints/best.json, or remove it where nothing was evaluated.

    ``checkpoint`` is null where the start model did best.
    """
    folder = run / "checkpoints"
    if best is None:
        (folder / "best.json").unlink(missing_ok=True)
        return
    make_folder(folder)
    name = f"step-{best.step:06d}"
    checkpoint = name if (folder / name).is_dir() else None
    record = {"step": best.step, "accuracy": best.accuracy, "checkpoint": checkpoint}
    write_json(folder / "best.json", record)


def _step_of(file: Path) -> int:
    number = file.stem.removeprefix("step-")
    if not number.isdecimal():
        raise ValueError(f"{file} is none of a run's evaluations: give it another name")
    return int(number)


def _accuracy(file: Path) -> float:
    try:
        accuracy = json.loads(read_text(file))["overall"]["accuracy"]
        if isinstance(accuracy, bool) or not 0 <= accuracy <= 1:
            raise ValueError(f"accuracy {accuracy!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} cannot be read ({type(error).__name__}: {error}): restore it, or remove it:"
            " its step is then not among those of which the best is named"
        ) from error
    return accuracy
