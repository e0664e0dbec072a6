"""Print how much of each package the tests ran, by lines and by branches.

    python -m pytest -m "unit or model" --cov --cov-report=
    python -m coverage json -o FILE && python scripts/print_coverage.py FILE

A branch is a way out of a line that has several; half of an `if` is half of its branches. What
other processes ran is not counted, and in .ci/run neither is what commands and slow tests did:
tracing them would make the suite take half as long again.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

NAMES = ("num_statements", "covered_lines", "num_branches", "covered_branches")
HEAD = ("package", "lines", "run", "branches", "run")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="what `coverage json` wrote")
    report = json.loads(parser.parse_args(argv).file.read_text(encoding="utf-8"))
    print("\n".join(table(report["files"])))
    return 0


def table(files: Mapping[str, Any]) -> list[str]:
    """Return the table's lines: packages and their folders in turn, then all of them.

    A row holds a folder's own files, those of the folders in it have rows of their own.
    """
    sums: dict[str, list[int]] = {}
    for path, of_file in sorted(files.items()):
        parent = PurePosixPath(path.replace("\\", "/")).parent.as_posix()
        for place in (parent, "all"):
            of_place = sums.setdefault(place, [0, 0, 0, 0])
            for at, name in enumerate(NAMES):
                of_place[at] += of_file["summary"][name]
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
