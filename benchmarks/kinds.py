"""Does GRPO raise every kind of answer? Three seeds each on phantoms asked about in words.

    python benchmarks/kinds.py                  writes benchmarks/results/kinds_cpu.json

For each way of asking and each seed: `python train.py --train-json phantoms:WAY`, which starts from
models/tiny_open, and greedy accuracy on all held-out questions before and after. Prints a table and
says where the least gain over the seeds is below the limit.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import ROOT

from grpo.run.provenance import machine

WAYS = {"open": "text", "yes_no": "choice, yes or no", "count": "number"}
LEAST_GAIN = 0.1  # of every seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--smoke", action="store_true", help="two steps of one seed, no file")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "kinds_cpu.json"
    )
    given = parser.parse_args()
    if given.smoke:
        given.seeds, given.steps = [0], 2
    runs = [one_run(way, seed, given) for way in given.ways for seed in given.seeds]
    for run in runs:
        print(
            f"{run['asked']:<7} seed {run['seed']}: {run['before']:.1%} -> {run['after']:.1%}"
            f" in {run['steps']} steps, {run['seconds']:.0f} s"
        )
    if given.smoke:
        return
    result = {"command": "python train.py --train-json phantoms:WAY --seed SEED", **machine()}
    given.output.write_text(json.dumps({**result, "runs": runs}, indent=2) + "\n")
    missed = [run for run in runs if run["after"] - run["before"] < LEAST_GAIN]
    for run in missed:
        print(f"MISSED: {run['asked']}, seed {run['seed']}: less than {LEAST_GAIN:.0%} gained")
    sys.exit(bool(missed))


def one_run(way: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Run the command and return what it learned."""
    with TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        command = ["train.py", "--train-json", f"phantoms:{way}", "--seed", str(seed)]
        command += ["--max-steps", str(given.steps), "--output-dir", str(directory)]
        if given.smoke:
            command += ["--eval-limit", "40"]
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, cwd=ROOT)
        seconds = time.perf_counter() - started
        files = sorted((directory / "eval").glob("step-*.json"))
        before, after = (json.loads(files[place].read_text()) for place in (0, -1))
    return {
        "asked": way,
        "kind": WAYS[way],
        "seed": seed,
        "steps": given.steps,
        "seconds": seconds,
        "n": after["overall"]["n"],
        "before": before["overall"]["accuracy"],
        "after": after["overall"]["accuracy"],
        "by_question_type": {
            name: [before["by_question_type"][name]["accuracy"], entry["accuracy"]]
            for name, entry in after["by_question_type"].items()
        },
    }


if __name__ == "__main__":
    main()
