"""Print how the product's text is built: sizes, names, comments, arrows, and what a step touches.

    python scripts/measure_structure.py                       this checkout
    python scripts/measure_structure.py --root DIR --json FILE --step --mypy

The same measures before and after a restructuring say what it changed. All but two are read from
the text of DIR, without importing it: --step trains the embedded model for one step, half a
minute, and --mypy runs mypy as DIR configures it. How each is counted: scripts/structure.
Not here, since no text tells it: how many files a reader walks from an image to its log-probability
or from a reward to the gradient, and how many edits a new mode takes.
"""

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a clone, from any folder

from scripts.structure import arrows, counts, one_step  # noqa: E402
from scripts.structure.counts import Measures  # noqa: E402
from scripts.structure.tree import COMMANDS, PACKAGES, Source  # noqa: E402

NOT_MEASURED = "not measured"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="a checkout (default: this one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measures there too")
    parser.add_argument("--step", action="store_true", help="measure one training step on a CPU")
    parser.add_argument("--mypy", action="store_true", help="count mypy's errors")
    given = parser.parse_args(argv)
    root = given.root.resolve()
    try:
        source = Source(root)
        measured = measure(source)
        measured["one step on a CPU"] = (
            counts.run_through(source, one_step_of(root)) if given.step else {}
        )
        measured["mypy"] = mypy_errors(root) if given.mypy else {}
    except (ValueError, OSError, SyntaxError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(measured))
    if given.json:
        given.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(source: Source) -> dict[str, Measures]:
    """Return all that the text alone tells, by section."""
    private = {"across folders": arrows.private_accesses(source)}
    starts = ("grpo/step.py", "grpo/advantages.py")
    return {
        "sizes": counts.sizes(source),
        "train_step (grpo/step.py)": counts.function_page(source, "grpo/step.py", "train_step"),
        "import statements": counts.import_statements(source, COMMANDS),
        "names in several places": counts.repeated_names(source),
        "comments in tensor code (grpo/, models/)": counts.comments(source, ("grpo", "models")),
        "arrows": arrows.folder_arrows(source),
        **{
            f"inside {room}/": arrows.room_arrows(source, room) for room in ("evaluation", "models")
        },
        "private names": private,
        "files reached by imports": {start: arrows.reached(source, start) for start in starts},
    }


def one_step_of(root: Path) -> list[tuple[str, int, str]]:
    """Return what one training step runs through, found in a process of its own."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "step.json"
        command = [sys.executable, one_step.__file__, str(root), str(file)]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if run.returncode:
            raise ValueError(f"one training step of {root} failed:\n{run.stdout}{run.stderr}")
        return json.loads(file.read_text(encoding="utf-8"))


def mypy_errors(root: Path) -> Measures:
    """Return the count of mypy's errors in the product."""
    if find_spec("mypy") is None:
        return {"errors": f"{NOT_MEASURED}: mypy is not installed"}
    product = [name for name in (*PACKAGES, *COMMANDS) if (root / name).exists()]
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mypy", "--cache-dir", folder, *product]
        run = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if run.returncode not in (0, 1):  # 2: mypy itself could not go on
        raise ValueError(f"mypy failed:\n{run.stdout}{run.stderr}")
    errors = [line for line in run.stdout.splitlines() if ": error: " in line]
    return {
        "errors": len(errors),
        "errors outside models/": sum(not line.startswith("models/") for line in errors),
    }


def table(measured: dict[str, Measures]) -> str:
    """Return the measures in aligned columns; a list is its length, its items stand below.

    >>> print(table({"sizes": {"files": 2, "long": ["a", "b"]}, "mypy": {}}))
    sizes
      files  2
      long   2
             a
             b
    <BLANKLINE>
    mypy     not measured
    """
    width = max(len(label) for values in measured.values() for label in values) + 2
    sections = []
    for title, values in measured.items():
        lines = [title if values else f"{title:<{width + 2}}{NOT_MEASURED}"]
        for label, value in values.items():
            items = value if isinstance(value, list) else []
            shown = len(value) if isinstance(value, list) else "none" if value is None else value
            lines.append(f"  {label:<{width}}{shown}")
            lines += [f"{' ' * (width + 2)}{item}" for item in items]
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


if __name__ == "__main__":
    sys.exit(main())
