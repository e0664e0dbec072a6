"""Trainings that get signals at aimed or random moments, and what each of them leaves.

    python -m tests.whole.aimed_runs CASES.json RESULTS.json FOLDER

One process imports all that a training needs, and forks one for each case: a start costs what the
training itself costs. The child takes its signals as `python train.py` does, and so ends as it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from process.own_signals import take_signals
from process.signals import requests
from tests.whole.aimed.sitecustomize import aim

STEPS = 4
FLAGS = [
    *("--model", "tiny", "--train-json", "phantoms:CT", "--eval-json", "phantoms:CT"),
    *("--eval-limit", "2", "--eval-every", "2", "--image-size", "56"),
    *("--max-completion-tokens", "4", "--prompts-per-step", "1", "--group-size", "2"),
    *("--max-steps", str(STEPS), "--warmup-steps", "0", "--device", "cpu"),
]


@dataclass(frozen=True)
class Case:
    """One training and its signals."""

    name: str
    number: int = signal.SIGTERM
    at: str = ""  # see aimed/sitecustomize.py
    nth: int = 1
    times: int = 1  # at the moment itself
    volley: bool = False  # from outside, every 20 ms until the process is gone
    after: float = 0.0  # without `at`: the first one comes after so many seconds
    lasts: float = 0.0  # seconds that the moment is drawn out
    grace: float = 10.0
    save_every: int = 2


@dataclass(frozen=True)
class Left:
    """What a case left."""

    status: int
    told: str  # standard error
    was_met: bool  # the moment came
    seconds: float  # from the first signal to the end
    saved: list[str]
    metrics: list[int]  # the steps of metrics.jsonl
    resumed: int | None = None  # the status of --resume, where a step was saved
    steps: tuple[int, ...] = ()  # of metrics.jsonl after it


def run_cases(cases: list[Case], folder: Path) -> dict[str, Left]:
    """Return what each case left; in a process of its own, which stands in a new folder."""
    asked, answered = folder / "cases.json", folder / "results.json"
    asked.write_text(json.dumps([asdict(case) for case in cases]), encoding="utf-8")
    root = Path(__file__).resolve().parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "tests.whole.aimed_runs", str(asked), str(answered), str(folder)]
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
    found = json.loads(answered.read_text(encoding="utf-8"))
    return {name: Left(**left) for name, left in found.items()}


def faults(case: Case, left: Left) -> list[str]:
    """Return what is not as promised, in words."""
    found = []
    status = 128 + case.number
    lines = [line for line in left.told.splitlines() if line.startswith("interrupted")]
    if left.status == 0:  # it came when all was done
        if left.metrics != list(range(1, STEPS + 1)) or lines:
            found.append("exit 0, and not all was done")
    elif left.status != status:
        found.append(f"exit {left.status}, not {status}")
    elif len(lines) != 1:
        found.append(f"{len(lines)} lines begin with 'interrupted'")
    found += [word for word in ("Traceback", "Exception ignored") if word in left.told]
    newest = max((int(name.split("-")[1]) for name in left.saved), default=0)
    if case.grace > 1 and left.metrics != list(range(1, newest + 1)):
        found.append(f"step {newest} is saved, metrics.jsonl has {left.metrics}")
    if left.resumed not in (None, 0):
        found.append(f"--resume ended with {left.resumed}")
    if left.resumed == 0 and list(left.steps) != list(range(1, STEPS + 1)):
        found.append(f"after --resume metrics.jsonl has {left.steps}")
    return found


def _run(case: Case, place: Path) -> Left:
    out = place / "run"
    flags = [*FLAGS, "--save-every", str(case.save_every), "--output-dir", str(out)]
    process = _start(flags, place, case)
    status, told, seconds = _ask(process, place, case)
    left = Left(status, told, _is_met(place, case), seconds, _saved(out), _steps(out))
    if not left.saved:
        return left
    resumed, _, _ = _ask(_start(["--resume", str(out)], place), place, None)
    return Left(**{**asdict(left), "resumed": resumed, "steps": tuple(_steps(out))})


def _start(flags: list[str], place: Path, case: Case | None = None) -> int:
    """Fork; return the child's number. The child becomes the command."""
    for name in ("out", "told"):
        (place / name).write_bytes(b"")
    child = os.fork()
    if child:
        return child
    for number, name in ((1, "out"), (2, "told")):
        os.dup2(os.open(place / name, os.O_WRONLY | os.O_APPEND), number)
    import train

    take_signals()
    if case is not None:
        requests.grace = case.grace
        aim(
            {
                "AIMED_AT": case.at,
                "AIMED_NTH": str(case.nth),
                "AIMED_SIGNAL": str(int(case.number)),
                "AIMED_TIMES": str(case.times),
                "AIMED_LASTS": str(case.lasts),
            }
        )
    os.write(1, b"begun\n")
    sys.argv = ["train.py"]
    sys.exit(train.main(flags))


def _ask(child: int, place: Path, case: Case | None) -> tuple[int, str, float]:
    """Send the signals from outside; return exit status, standard error and seconds to the end."""
    ended, since = 0, time.monotonic()
    while not ended and case is not None and not _is_met(place, case):
        ended, status = _look(child, 0.005)
    if case is not None and case.after:
        due = time.monotonic() + case.after
        while not ended and time.monotonic() < due:
            ended, status = _look(child, 0.005)
        if not ended:
            since = time.monotonic()
            os.kill(child, case.number)
    while not ended:
        ended, status = _look(child, 0.02)
        if not ended and case is not None and case.volley:
            os.kill(child, case.number)
    told = (place / "told").read_text(encoding="utf-8")
    return os.waitstatus_to_exitcode(status), told, time.monotonic() - since


def _look(child: int, wait: float) -> tuple[int, int]:
    """Wait; return the child's number, or 0 while it runs, and its status as `os.wait` gives it."""
    time.sleep(wait)
    return os.waitpid(child, os.WNOHANG)


def _is_met(place: Path, case: Case) -> bool:
    sign = f"aimed at {case.at}" if case.at else "begun"
    return sign in (place / "out").read_text(encoding="utf-8")


def _saved(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("checkpoints/step-*"))


def _steps(out: Path) -> list[int]:
    file = out / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line)["step"] for line in lines]


def main(words: list[str]) -> None:
    """Run the cases of the first file, write the second."""
    import train  # noqa: F401 - all before the first fork

    asked, answered, folder = map(Path, words)
    found: dict[str, Any] = {}
    for number, case in enumerate(json.loads(asked.read_text(encoding="utf-8"))):
        place = folder / f"case-{number}"
        place.mkdir()
        found[case["name"]] = asdict(_run(Case(**case), place))
    answered.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
