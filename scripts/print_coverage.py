"""Print how much of each package the tests ran, by lines and by branches; fail where it is little.

    python -m pytest -m "unit or model" --cov --cov-report=
    python -m coverage json -o FILE && python scripts/print_coverage.py FILE

A branch is a way out of a line that has several; half of an `if` is half of its branches. What
other processes ran is not counted, and in .ci/run neither is what commands and slow tests did:
tracing them would make the suite take half as long again.

Below the table stand the branches of whole rooms. Of those in LEAST, a smaller share ends with
status 1 and the files that lack most.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

NAMES = ("num_statements", "covered_lines", "num_branches", "covered_branches")
HEAD = ("package", "lines", "run", "branches", "run")
LEAST = {"data": 0.95, "grpo": 0.95, "rewards": 0.95}  # of a room's branches
SHOWN = 8  # files of a room that has too few


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="what `coverage json` wrote")
    report = json.loads(parser.parse_args(argv).file.read_text(encoding="utf-8"))
    files = {path.replace("\\", "/"): one["summary"] for path, one in report["files"].items()}
    print("\n".join(table(files)))
    rooms = sorted({path.split("/")[0] for path in files})
    print("\nbranches of whole rooms:", *(f"{room} {_branches(files, room)[2]}" for room in rooms))
    short = [line for room in LEAST for line in too_few(files, room)]
    print(*short, sep="\n", end="\n" if short else "")
    return int(bool(short))


def too_few(files: Mapping[str, Any], room: str) -> list[str]:
    """Return what to say of a room of which too few branches ran, nothing of any other."""
    run, of, share = _branches(files, room)
    if run >= LEAST[room] * of:
        return []
    lack = {path: summary["num_branches"] - summary["covered_branches"]
            for path, summary in files.items() if path.startswith(f"{room}/")}  # fmt: skip
    worst = sorted(lack, key=lambda path: (-lack[path], path))[:SHOWN]
    said = f"{room}: {run:,} of {of:,} branches ran, {share}: at least {LEAST[room]:.0%} must"
    return [said, *(f"  {path}: {lack[path]} did not" for path in worst if lack[path])]


def _branches(files: Mapping[str, Any], room: str) -> tuple[int, int, str]:
    """Return how many of a room's branches ran, of how many, and the share as text."""
    of_room = [summary for path, summary in files.items() if path.startswith(f"{room}/")]
    run = sum(summary["covered_branches"] for summary in of_room)
    of = sum(summary["num_branches"] for summary in of_room)
    return run, of, _share(run, of)


def table(files: Mapping[str, Any]) -> list[str]:
    """Return the table's lines: packages and their folders in turn, then all of them.

    A row holds a folder's own files, those of the folders in it have rows of their own.
    """
    sums: dict[str, list[int]] = {}
    for path, summary in sorted(files.items()):
        parent = PurePosixPath(path).parent.as_posix()
        for place in (parent, "all"):
            of_place = sums.setdefault(place, [0, 0, 0, 0])
            for at, name in enumerate(NAMES):
                of_place[at] += summary[name]
    places = [*sorted(sums.keys() - {"all"}), *sums.keys() & {"all"}]
    rows = [HEAD, *((place, *_cells(sums[place])) for place in places)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]


def _cells(sums: Sequence[int]) -> tuple[str, str, str, str]:
    lines, run_lines, branches, run_branches = sums
    return f"{lines:,}", _share(run_lines, lines), f"{branches:,}", _share(run_branches, branches)


def _share(run: int, of: int) -> str:
    return f"{run / of:.1%}" if of else "-"


if __name__ == "__main__":
    raise SystemExit(main())
