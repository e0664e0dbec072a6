"""The first minutes on a GPU, in one command: does it work, how exactly, how fast, in what memory.

    python benchmarks/first_minutes.py           writes benchmarks/results/first_minutes_<gpu>.json
    python benchmarks/first_minutes.py --smoke --device cpu      every line, tiny sizes, any machine

At most 10 minutes, the most telling part first. Every part is a process of its own with a limit of
its own; what it found so far is written after each of its rows, so that a part that dies or runs
out of time leaves what it had, and the next one begins. The parts are in first_parts.py:

    machine    the GPU's name and memory; without it nothing else is tried
    tests      pytest -m gpu
    steps      ten steps of a 2B-shaped model, random weights with inflated q/k biases: distance of
               sampler and update, memory beside what was estimated, where the time went
    decode     a rollout of the same shape: prefill, tokens a second, share of the bandwidth bound
    logprob    the log-prob op beside the plain path and the matrix products alone
    varlen     packed groups as they lie (models/shared/varlen.py) against padded copies

No bar is judged here: benchmarks/gpu.py, logprob.py and attention.py do that, and take longer. The
exit status is 1 if a part did not come to its end.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # nothing here imports torch: the GPU belongs to the parts

from process.signals import ending_signals, exit_status, last_line  # noqa: E402

BUDGET = 600  # seconds, for all parts together
# part -> seconds; they add up to less than the budget
LIMITS = {"machine": 40, "tests": 150, "steps": 180, "decode": 80, "logprob": 80, "varlen": 60}
TAIL = 40  # lines of a broken part's output that are kept
Row = dict[str, Any]


def main() -> int:
    given = parse()
    if given.part:
        from first_parts import run_part_here

        run_part_here(given.part, torch_device=given.device, smoke=given.smoke, file=given.found)
        return 0
    stop_at = time.monotonic() + given.budget_seconds
    done: Row = {"command": " ".join(["python", *sys.argv]), "limit_seconds": given.budget_seconds}
    done |= {"device": None, "parts": {}}
    output = given.output
    try:
        for name in given.parts:
            left = stop_at - time.monotonic()
            done["parts"][name] = {"status": "under way"}
            part = run_in_a_process(name, min(LIMITS[name], left), flags(given, name))
            done["parts"][name] = part
            if name == "machine":
                if part["status"] != "ok":
                    if output is not None:
                        write(output, done)
                    print(f"error: {part['status']}: no part can run", file=sys.stderr)
                    return 2
                done["device"] = part["found"]["device"]
                output = output or default_output(done["device"], given.smoke)
            write(output, done)
            print(f"--- {name}: {part['status']}, {part['seconds']:.0f} s; so far in {output}\n")
    except KeyboardInterrupt as error:
        number = exit_status(error) - 128
        for name, part in done["parts"].items():
            if part["status"] == "under way":
                done["parts"][name] = {"status": last_line(number)}
        if output is not None:
            write(output, done)
        print(f"\n{last_line(number, f'what was found is in {output}')}", file=sys.stderr)
        return exit_status(error)
    broken = [name for name, part in done["parts"].items() if part["status"] != "ok"]
    print(f"{len(done['parts']) - len(broken)} of {len(done['parts'])} parts came to their end"
          + (f"; not {', '.join(broken)}" if broken else ""))  # fmt: skip
    return 1 if broken else 0


def parse() -> argparse.Namespace:
    """Return the flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0", help="a CUDA device; cpu with --smoke only")
    parser.add_argument("--output", type=Path, help="result file; with --smoke a temporary one")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does the script work?")
    parser.add_argument(
        "--budget-seconds", type=float, default=BUDGET, help="of all parts together"
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=LIMITS,
        default=list(LIMITS),
        help="only these, beside machine",
    )
    parser.add_argument("--part", choices=LIMITS, help=argparse.SUPPRESS)
    parser.add_argument("--found", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.device == "cpu" and not given.smoke:
        parser.error("on a CPU only --smoke --device cpu runs: what it measures is a GPU's")
    given.parts = [name for name in LIMITS if name in {"machine", *given.parts}]
    return given


def flags(given: argparse.Namespace, name: str) -> list[str]:
    """Return the command of one part."""
    smoke = ["--smoke"] if given.smoke else []
    return [sys.executable, str(Path(__file__)), "--part", name, "--device", given.device, *smoke]


def run_in_a_process(name: str, limit: float, command: Sequence[str]) -> Row:
    """Run a part, showing its output; return its status, its seconds and what it found.

    Args:
        name: of the part.
        limit: seconds; then the part ends with all processes it has started.
        command: to run; it gets --found FILE, where it writes what it finds as JSON.
    """
    if limit <= 0:
        return {"status": "not begun: the time of all parts was up", "seconds": 0.0, "found": None}
    print(f"--- {name}, at most {limit:.0f} s", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        process = subprocess.Popen(
            [*command, "--found", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder},  # goes with the part, however that ends
            start_new_session=True,  # a group of processes that can be ended as one
        )
        tail: deque[str] = deque(maxlen=TAIL)
        reader = threading.Thread(target=show, args=(process.stdout, tail), daemon=True)
        reader.start()
        try:
            process.wait(timeout=limit)
            status = status_of(process.returncode)
        except subprocess.TimeoutExpired:
            status = f"stopped: it ran beyond its limit of {limit:.0f} s"
        finally:
            end_group(process)
        reader.join(timeout=5)
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    seconds = round(time.monotonic() - started, 1)
    part = {"status": status, "seconds": seconds, "limit_seconds": round(limit, 1), "found": found}
    return part if status == "ok" else part | {"output": list(tail)}


def status_of(returncode: int) -> str:
    """Return how a process ended.

    >>> status_of(0), status_of(3), status_of(-9)
    ('ok', 'failed with exit status 3', 'killed by SIGKILL')
    """
    if returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"failed with exit status {returncode}" if returncode else "ok"


def end_group(process: subprocess.Popen) -> None:
    """End what is left of a process and of those it has started."""
    with suppress(ProcessLookupError):  # nothing is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def show(stream: Any, tail: deque[str]) -> None:
    """Print lines as they come and keep the last ones."""
    for line in stream:
        tail.append(line.rstrip("\n"))
        print(f"    {line}", end="", flush=True)


def default_output(device: str, smoke: bool) -> Path:
    """Return the result file that is named after the device; a smoke run's is a temporary one."""
    slug = re.sub(r"[^a-z0-9]+", "_", device.lower()).strip("_")
    if smoke:
        return Path(tempfile.mkdtemp(prefix="first_minutes_")) / f"first_minutes_{slug}.json"
    return ROOT / "benchmarks" / "results" / f"first_minutes_{slug}.json"


def write(file: Path, content: Any) -> None:
    """Write JSON so that the file is always whole, whenever the process ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(file)


if __name__ == "__main__":
    with ending_signals():
        sys.exit(main())
