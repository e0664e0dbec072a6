"""Our GRPO step now against the same step of another checkout: did a refactoring cost time?

    git worktree add ../before <commit> && python benchmarks/before_after.py --before ../before

Writes benchmarks/results/before_after_cpu.json. Each side runs in a process of its own, from its
own files, with the cases of its own benchmarks/step_cases.py, and both take one step in turn on the
same questions. Unless every metric of every step is the same number on both sides there is no
ratio. It fails where the median is under 0.98 of before.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from common import ROOT, THREADS, arguments, spread, write_result

LEAST = 0.98  # time before over time now
CASE_NAMES = ("embedded, prompts of 247", "embedded, own prompts")
SMOKE_NAMES = ("smoke, embedded",)
NOT_COMPARED = ("time/", "samples_per_second", "tokens_per_second")

# Runs in the other checkout as well: nothing but names that benchmarks/ has had all along.
SIDE = """
import json, sys, tempfile
from pathlib import Path
root, name, steps = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sys.path[:0] = [str(root / "benchmarks"), str(root)]
import torch
import elsewhere
from our_step import Ours
from step_cases import CASES, SMOKE, make_checkpoint, make_turns
elsewhere.keep_freed_memory()
torch.set_num_threads(elsewhere.THREADS)
case = next(case for cases in (*CASES.values(), SMOKE) for case in cases if case.name == name)
with tempfile.TemporaryDirectory() as folder:
    checkpoint = make_checkpoint(case, Path(folder))
    ours = Ours.perturbed(checkpoint, case, make_turns(case, checkpoint, steps))
for line in sys.stdin:
    result, times = ours.step(int(line))
    print(json.dumps({**result.metrics, **times}), flush=True)
"""


class Side:
    """A checkout whose step can be taken; a context manager."""

    def __init__(self, root: Path, case: str, steps: int) -> None:
        command = [sys.executable, "-c", SIDE, str(root), case, str(steps)]
        self._process = subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def step(self, index: int) -> dict[str, Any]:
        """Return the metrics and times of a step."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{index}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("one side ended; its error stands above")
        return json.loads(line)


def differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the metrics that are not the same number on both sides."""
    names = [name for name in before if not name.startswith(NOT_COMPARED)]
    return [name for name in names if before[name] != now.get(name)]


def run_case(root: Path, case: str, repeats: int) -> dict[str, Any]:
    """Return one case's times of both sides, or what differs."""
    seconds: dict[str, list[float]] = {"before": [], "now": []}
    with Side(root, case, repeats + 1) as before, Side(ROOT, case, repeats + 1) as now:
        for index in range(repeats + 1):  # the first step of each side is its warm-up
            sides = {"before": before, "now": now}
            order = sorted(sides, reverse=bool(index % 2))  # neither is always the first
            results = {name: sides[name].step(index) for name in order}
            if names := differing(results["before"], results["now"]):
                return {"case": case, "differs": {"step": index, "metrics": names}}
            for name in order:
                seconds[name].append(results[name]["time/step"])
    ratio = median(seconds["before"][1:]) / median(seconds["now"][1:])
    spreads = {name: spread(times[1:]) for name, times in seconds.items()}
    return {"case": case, **spreads, "ratio": round(ratio, 3)}


def main() -> None:
    parser = arguments(__doc__, "before_after_cpu.json")
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the code before")
    given = parser.parse_args()
    root = given.before.resolve()
    if not (root / "benchmarks" / "our_step.py").is_file():
        sys.exit(f"--before {given.before} is no checkout of this project: give its root")
    commit = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(commit, capture_output=True, text=True).stdout.strip()
    names, repeats = (SMOKE_NAMES, 2) if given.smoke else (CASE_NAMES, given.repeats)
    rows = [run_case(root, name, repeats) for name in names]
    for row in rows:
        print(row)
    least = 0.0 if given.smoke else LEAST
    missed = [row["case"] for row in rows if row.get("ratio", -1.0) < least]
    command = "python benchmarks/before_after.py --before DIR"
    content = {"before": found, "threads": THREADS, "rows": rows, "missed": missed}
    write_result(given.output, command, content)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
