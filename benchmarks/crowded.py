"""A training step beside busy processes, by how OpenMP's threads wait: process/threads.py's reason.

    python benchmarks/crowded.py                  writes benchmarks/results/crowded.json

Runs `python train.py --max-steps STEPS` alone and beside as many endless loops as --loops says,
with threads that wait as GNU OpenMP does by itself, as ours do, and with one thread. Prints the
median seconds of a step, and the ratio to ours under the same load.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.default_run import cpu  # noqa: E402
from grpo.run.provenance import machine  # noqa: E402

WAYS = {
    "ours": {},
    # what libgomp does when nothing is set, since setting nothing is what makes it ours
    "spinning (the library's own)": {"GOMP_SPINCOUNT": "300000"},
    "asleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--loops", type=int, nargs="+", default=[0, 1])
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "crowded.json"
    )
    given = parser.parse_args()
    rows = []
    for loops in given.loops:
        with busy(loops):
            found = {way: seconds_per_step(WAYS[way], given.steps) for way in WAYS}
        for way, seconds in found.items():
            ratio = seconds / found["ours"]
            rows.append({"loops": loops, "way": way, "seconds": seconds, "times_ours": ratio})
            print(f"{loops} busy loops, {way:<30}{seconds:8.3f} s a step{ratio:8.2f} times ours")
    about = {"command": f"train.py --max-steps {given.steps}", **machine(), "cpu": cpu()}
    given.output.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n", encoding="utf-8")


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep that many cores busy with processes that do nothing else."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def seconds_per_step(way: dict[str, str], steps: int) -> float:
    """Return the median of all steps but the first."""
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = ["train.py", "--max-steps", str(steps), "--eval-json", "phantoms:CT"]
        command += ["--eval-limit", "8", "--output-dir", str(run)]
        subprocess.run(
            [sys.executable, *command],
            check=True,
            cwd=ROOT,
            env={**os.environ, **way},
            capture_output=True,
        )
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return statistics.median(json.loads(line)["time/step"] for line in lines[1:])


if __name__ == "__main__":
    main()
