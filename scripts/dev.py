"""Everything to run while working on the code: format, lint, types and the tests that answer soon.

    python scripts/dev.py                 the whole checkout, and the unit tier of its tests
    python scripts/dev.py grpo/loss.py    the same checks, and the tests of that file, of all tiers
    python scripts/dev.py --fix           ruff mends what it can on the way
    python scripts/dev.py --list FILE     only say which tests are a file's

A file's tests are its docstrings' examples, the test file that mirrors it (tests/grpo/test_loss.py)
and those that import it: themselves, through their helpers or through the package's `__init__.py`.
Exit status 1 if anything failed; a tool that is not installed counts as that. The whole suite, the
wheel and the commands on real input are bash .ci/run.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a clone, from any folder

from scripts.structure.owners import find_tests  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE", help="whose tests to run")
    parser.add_argument("--fix", action="store_true", help="let ruff change the files")
    parser.add_argument("--list", action="store_true", help="only print the tests of the files")
    parser.add_argument("-m", metavar="TIERS", help='of the tests, as pytest\'s: "unit or model"')
    given = parser.parse_args(argv)
    try:
        tests = sorted({test for file in given.files for test in find_tests(ROOT, file)})
    except ValueError as error:
        parser.error(str(error))
    if given.list:
        print("\n".join(tests))
        return 0
    return run(commands(given.fix, tests, given.m))


def commands(fix: bool, tests: Sequence[str], tiers: str | None) -> dict[str, list[str]]:
    """Return the words after `python -m` of each step by its name, in the order of their cost."""
    pytest = ["pytest", "-q", "--no-header"]
    if not tests:
        # one process per core; for a few files a second one would only import everything again
        pytest += ["--numprocesses", "logical", "--dist", "worksteal"]
    chosen = tiers or ("" if tests else "unit")
    return {
        "format": ["ruff", "format", *([] if fix else ["--check"]), "."],
        "lint": ["ruff", "check", *(["--fix"] if fix else []), "."],
        "types": ["mypy"],
        "tests": [*pytest, *(["-m", chosen] if chosen else []), *tests],
    }


def run(steps: dict[str, list[str]]) -> int:
    """Run every step, whatever the others say; return 1 if one failed."""
    failed = []
    for name, words in steps.items():
        print(f"=== {name}: {' '.join(words)}", flush=True)
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, env=environment())
        print(f"    {time.perf_counter() - started:.1f} s", flush=True)
        failed += [name] * bool(done.returncode)
    print(f"=== failed: {', '.join(failed)}" if failed else "=== all passed")
    return 1 if failed else 0


def environment() -> dict[str, str]:
    """Return what the tools run in: one thread a process, no network, compiled tests kept."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **kept}


if __name__ == "__main__":
    sys.exit(main())
