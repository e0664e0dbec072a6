"""A long run of the embedded model: do memory, handles, threads or seconds grow with it?

    python benchmarks/long_run.py                 writes benchmarks/results/long_run_cpu.json

`python train.py` for 2,000 steps, which evaluates and saves fifty times on the way; after every
step the process is read (long_run_process.py). The first tenth of the steps, warm-up included, is
compared with the last by medians. A policy that learns writes longer or shorter completions, and a
machine has slow minutes, so seconds are compared twice more, in the last 120 steps and step by step
in turns:

    aged      the run itself, after 1,880 steps in one process
    fresh     a process that goes on from the run's checkpoint: the same steps to the bit, so that
              nothing but the age of the process differs
    anew      the run's first steps once more: the first tenth's work in the same minutes

Two processes differ by some per cent in how their memory lies, whatever their age: `same_age` has
the spread of four fresh ones. It fails where something grows by more than LIMIT from the first
tenth to the last, or where a step is not the same number twice.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import linear_regression, median
from tempfile import TemporaryDirectory
from typing import Any

from common import arguments, write_result
from long_run_turns import Ran, Turns

LIMIT = 0.02
# the first tenth has seen five evaluations and saves, which need more memory than a step
STEPS, SMOKE_STEPS, TENTHS, SAVES = 2000, 20, 10, 50
TURNS = 3  # times as many steps as lie between two saves
PROCESSES = 4  # of one age, whose seconds say what a comparison of two processes is worth
FLAGS = ("--eval-limit", "40", "--seed", "0")
GROWING = (
    *("seconds", "resident_bytes", "allocated_bytes", "python_blocks"),
    *("open_files", "threads", "system_threads"),
)
NOT_COMPARED = ("time/", "samples_per_second", "tokens_per_second")


def saved_every(steps: int) -> int:
    """Return after how many steps a run evaluates and saves."""
    return max(2, steps // SAVES)


def in_turn(steps: int) -> int:
    """Return how many steps, at the end of a run, are taken in turns."""
    return TURNS * saved_every(steps)


def measure(steps: int, folder: Path) -> tuple[Ran, Ran, Ran]:
    """Return the run, its last steps in a fresh process, and its first steps done anew."""
    every = str(saved_every(steps))
    flags = (*FLAGS, "--max-steps", str(steps), "--save-every", every, "--eval-every", every)
    run, copy, again = (folder / name for name in ("run", "copy", "again"))
    turns = steps - in_turn(steps) + 1  # the checkpoint of the step before is written by its end
    with Turns(folder / "aged", turns, *flags, "--output-dir", str(run)) as aged:
        shutil.copytree(run, copy)
        with (
            Turns(folder / "fresh", turns, "--resume", str(copy)) as fresh,
            Turns(folder / "anew", 1, *flags, "--output-dir", str(again)) as anew,
        ):
            for _ in range(in_turn(steps) - 1):
                for one in (aged, fresh, anew):
                    one.step()
            aged.end()
            fresh.end()
    pairs = (("aged", run), ("fresh", copy), ("anew", again))
    aged_ran, fresh_ran, anew_ran = (Ran.of(folder / name, place) for name, place in pairs)
    return aged_ran, fresh_ran, anew_ran


def apart(steps: int, folder: Path) -> dict[str, Any]:
    """Return by how much processes of one age differ that take the same steps in turns."""
    every = str(saved_every(steps))
    flags = (*FLAGS, "--max-steps", str(steps), "--save-every", every, "--eval-every", every)
    names = [f"same-{number}" for number in range(PROCESSES)]
    with ExitStack() as stack:
        sides = [
            stack.enter_context(
                Turns(folder / name, 1, *flags, "--output-dir", str(folder / f"{name}-run"))
            )
            for name in names
        ]
        for _ in range(in_turn(steps) // 2):
            for side in sides:
                side.step()
    runs = [Ran.of(folder / name, folder / f"{name}-run") for name in names]
    taken = range(2, in_turn(steps) // 2 + 1)
    medians = [median(run.values("seconds", taken)) for run in runs]
    return {"seconds": medians, "spread": max(medians) / min(medians) - 1, "steps": len(taken)}


def first_and_last(run: Ran, steps: int) -> dict[str, dict[str, Any]]:
    """Return each reading's medians in the ten tenths, and how much the last is above the first."""
    tenth, found = steps // TENTHS, {}
    for name in GROWING:
        parts = [range(at + 1, at + tenth + 1) for at in range(0, steps, tenth)]
        medians = [median(run.values(name, part)) for part in parts]
        later = [step for step in range(tenth + 1, steps + 1) if name in run.readings[step]]
        values = [run.readings[step][name] for step in later]
        slope = linear_regression(later, values).slope * 1000 / medians[0]
        found[name] = {
            "first": medians[0],
            "last": medians[-1],
            "growth": medians[-1] / medians[0] - 1,
            "growth_per_1000_steps_after_the_first_tenth": slope,
            "tenths": medians,
        }
    return found


def in_turns(aged: Ran, other: Ran, shift: int, steps: range) -> dict[str, Any]:
    """Return how much longer the aged process takes than another, by the median of step by step.

    Args:
        aged: the run.
        other: what took a step beside each of its own.
        shift: what is taken from the run's step to find the other's.
        steps: of the run.
    """
    ours, theirs = aged.readings, other.readings
    seconds = [(ours[step]["seconds"], theirs[step - shift]["seconds"]) for step in steps]
    tokens = [run.metrics[step - by]["completion_tokens"]
              for step in steps for run, by in ((aged, 0), (other, shift))]  # fmt: skip
    return {
        "pairs": len(steps),
        "aged_seconds": median(pair[0] for pair in seconds),
        "other_seconds": median(pair[1] for pair in seconds),
        "growth": median(pair[0] / pair[1] for pair in seconds) - 1,
        "aged_completion_tokens": median(tokens[::2]),
        "other_completion_tokens": median(tokens[1::2]),
    }


def differing(one: Ran, other: Ran, steps: Sequence[int]) -> list[str]:
    """Return the numbers that two trainings have not both, as `step name`."""
    return [
        f"{step} {name}"
        for step in steps
        for name, value in one.metrics[step].items()
        if not name.startswith(NOT_COMPARED) and other.metrics[step].get(name) != value
    ]


def between(run: Ran, steps: int) -> dict[str, Any]:
    """Return the seconds that lie between two steps: plain ones, and with evaluation and save."""
    every = saved_every(steps)
    saved = [run.readings[step + 1]["between"] for step in range(every, steps, every)]
    tenth = steps // TENTHS
    plain = [[run.readings[step]["between"] for step in part if (step - 1) % every]
             for part in (range(2, tenth + 1), range(steps - tenth + 1, steps + 1))]  # fmt: skip
    return {"plain_first": median(plain[0]), "plain_last": median(plain[1]), "with_save": saved}


def main() -> None:
    parser = arguments(__doc__, "long_run_cpu.json")
    parser.add_argument("--steps", type=int, default=STEPS, help="a multiple of 20")
    parser.add_argument("--keep", type=Path, help="a folder for the runs and readings")
    given = parser.parse_args()
    steps = SMOKE_STEPS if given.smoke else given.steps
    with TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        aged, fresh, anew = measure(steps, folder.resolve())
        same_age = apart(steps, folder.resolve())
    turns = in_turn(steps)
    last, first = range(steps - turns + 2, steps + 1), range(2, turns + 1)
    found = first_and_last(aged, steps)
    sides = {
        "the same steps in a fresh process": in_turns(aged, fresh, 0, last),
        "the run's first steps anew": in_turns(aged, anew, steps - turns, last),
    }
    wrong = differing(aged, fresh, last) + differing(aged, anew, first)
    for name, row in found.items():
        print(f"{name:>16} {row['first']:>16,.3f} {row['last']:>16,.3f} {row['growth']:>+8.2%}")
    for name, row in sides.items():
        print(f"seconds beside {name}: {row['growth']:+.2%}")
    grown = [name for name, row in found.items() if row["growth"] > LIMIT]
    content = {"threads": os.environ.get("OMP_NUM_THREADS"), "steps": steps, "limit": LIMIT}
    content |= {
        "first_and_last_tenth": found,
        "in_turns": sides,
        "same_age": same_age,
        "between": between(aged, steps),
    }
    content |= {"not_the_same_number": wrong, "grown": grown}
    if not given.smoke:
        write_result(given.output, "python benchmarks/long_run.py", content)
    for text in (*grown, *wrong):
        print(f"GREW OR DIFFERS: {text}")
    sys.exit(bool(grown or wrong) and not given.smoke)


if __name__ == "__main__":
    main()
