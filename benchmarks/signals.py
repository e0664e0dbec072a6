"""Signals at many moments of a training, aimed and random: what breaks the promise of docs/run.md.

    python benchmarks/signals.py              writes benchmarks/results/signals_cpu.json

Every run gets SIGINT, SIGTERM or SIGHUP once, twice, or every 20 ms until it is gone, is looked at
(exit status, the one line, steps saved against metrics.jsonl), and is resumed to its end.
"""

import random
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import arguments, write_result

from tests.whole.aimed_runs import Case, Left, faults, run_cases

# Where a run of four steps passes by; the number says which time.
MOMENTS = {
    "loading": ("import evaluation.report.figures", 1),
    "first evaluation": ("call HeldOut.__call__", 1),
    "first token of a rollout": ("call sample_rollout", 2),
    "rewards": ("call score_completions", 2),
    "micro-batch": ("call completion_logprobs", 3),
    "moving weights": ("call PolicyOptimizer.step", 2),
    "log of a step": ("call StepLog.record", 2),
    "line of a step": ("call append_lines", 3),
    "evaluation between steps": ("call HeldOut.__call__", 2),
    "evaluation's file": ("call RunDirectory.write_evaluation", 2),
    "scheduled save": ("os.mkdir .step-000002.unfinished", 1),
    "checkpoint's rename": ("os.rename step-000002", 1),
    "last save": ("os.mkdir .step-000004.unfinished", 1),
    "report": ("open .report.html.tmp", 1),
}
NUMBERS = (2, 15, 1)  # SIGINT, SIGTERM, SIGHUP
VOLLEYS: dict[str, dict[str, Any]] = {
    "once": {},
    "twice": {"times": 2},
    "every 20 ms": {"volley": True},
}
RANDOM = 60  # runs with a random moment


def cases(moments: int, randoms: int, seconds: float) -> list[Case]:
    """Return the runs: some of the aimed moments under all signals, and random ones.

    Args:
        moments: how many of MOMENTS.
        randoms: how many random ones.
        seconds: within which these come.
    """
    found = [
        Case(f"{moment} {volley}", NUMBERS[(i + j) % 3], at=at, nth=nth, **how)
        for i, (moment, (at, nth)) in enumerate(list(MOMENTS.items())[:moments])
        for j, (volley, how) in enumerate(VOLLEYS.items())
    ]
    draw = random.Random(0)
    for number in range(randoms):
        volley = list(VOLLEYS)[number % 3]
        how = {"volley": True} if volley != "once" else {}
        after = draw.uniform(0.01, seconds)
        found.append(Case(f"random {number}", NUMBERS[draw.randrange(3)], after=after, **how))
    return found


def whole_run(folder: Path) -> float:
    """Return how many seconds a run takes that gets no signal before its end."""
    case = Case("whole", after=3600.0)
    left = run_cases([case], folder)["whole"]
    assert left.status == 0, left.told
    return left.seconds


def main() -> None:
    """Run, look, print and write."""
    args = arguments(__doc__, "signals_cpu.json").parse_args()
    with TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("whole", "cases")]
        for place in places:
            place.mkdir()
        seconds = 1.0 if args.smoke else whole_run(places[0])
        asked = cases(1, 1, seconds) if args.smoke else cases(len(MOMENTS), RANDOM, seconds)
        left = run_cases(asked, places[1])
    wrong = {case.name: found for case in asked if (found := _wrong(case, left[case.name]))}
    for name, found in wrong.items():
        print(f"{name}: {found}\n{left[name].told}")
    statuses = Counter(str(one.status) for one in left.values())
    print(f"{len(asked)} runs, {len(wrong)} of them not as promised; exit status {dict(statuses)}")
    if not args.smoke:
        content = {
            "runs": len(asked),
            "aimed moments": list(MOMENTS),
            "random": RANDOM,
            "exit status": dict(sorted(statuses.items())),
            "resumed to the end": sum(one.resumed == 0 for one in left.values()),
            "longest end, seconds": round(max(one.seconds for one in left.values()), 2),
            "failures": len(wrong),
        }
        write_result(args.output, "python benchmarks/signals.py", content)
    if wrong:
        sys.exit(1)


def _wrong(case: Case, left: Left) -> list[str]:
    found = faults(case, left)
    if case.at and not left.was_met:
        found.append("the moment did not come")
    return found


if __name__ == "__main__":
    main()
