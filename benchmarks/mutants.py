"""Mutation testing of the maths: change the code in one place, and see whether a test notices.

    pip install mutmut==3.8.1                        in an environment that runs the tests
    python benchmarks/mutants.py                     writes benchmarks/results/mutants_cpu.json
    python benchmarks/mutants.py loss rollout        these files' rows anew, the others as they are

mutmut changes one operator, number, argument, name or word of a function at a time. Every mutant
meets the tests that its file is given in mutant_cases.py, one process each, and a test that fails
kills it. What survives is explained in mutant_survivors.py; the run fails where a survivor has no
explanation, where an explanation has no survivor, and where fewer are killed than is wanted. With
--folder the copies stay, and a later run tests again what survived or was changed, not what was
killed.

The work is done in a copy of the project per file. There a decorator stands behind its function
instead of above it (`f = no_grad()(f)`), as mutmut leaves decorated functions alone, and hypothesis
draws the same examples every time and does not shrink those that fail.
"""

import argparse
import configparser
import contextlib
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import ROOT, arguments, write_result
from mutant_cases import CASES, SMOKE, Case
from mutant_survivors import WHY

Change = tuple[str, str, str]  # the function, its lines before and after

LEAST = 0.9  # share of killed mutants, over all files
PACKAGES = ("grpo", "models", "data", "rewards", "evaluation", "process", "configs")
SURVIVED = ("survived", "no tests")
FOUND = ("killed", "timeout", "segfault")  # what a user of the tests would notice
WITHOUT = [f"-pno:{plugin}" for plugin in ("cacheprovider", "unraisableexception", "xdist", "cov")]
# Behind the copy's conftest.py. A comparison of tensors imports half of torch at its first use.
PREPARED = """
import gc

import torch
from hypothesis import Phase, settings

phases = [Phase.explicit, Phase.generate]
settings.register_profile(
    "mutants", database=None, deadline=None, derandomize=True, phases=phases
)
settings.load_profile("mutants")
torch.testing.assert_close(torch.zeros(1), torch.zeros(1))
gc.freeze()
"""


def write_copy(folder: Path) -> None:
    """Write the project's files as they are on the disk, those that git ignores left out."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    with (folder / "conftest.py").open("a", encoding="utf-8") as file:
        file.write(PREPARED)


def without_decorators(source: str) -> str:
    """Return the code with each decorator of a function as a call behind it; classes keep theirs.

    >>> print(without_decorators("@cache\\ndef f():\\n    pass\\n"))
    def f():
        pass
    f = cache(f)
    <BLANKLINE>
    """
    import libcst as cst

    class Lift(cst.CSTTransformer):
        def leave_FunctionDef(self, original_node: Any, updated_node: Any) -> Any:  # noqa: ARG002
            calls = [cst.Module([]).code_for_node(d.decorator) for d in updated_node.decorators]
            if not calls or calls == ["classmethod"]:
                return updated_node
            name = updated_node.name.value
            behind = [cst.parse_statement(f"{name} = {call}({name})") for call in calls[::-1]]
            return cst.FlattenSentinel([updated_node.with_changes(decorators=[]), *behind])

    return cst.parse_module(source).visit(Lift()).code


def configure(folder: Path, case: Case) -> None:
    """Tell mutmut, in the copy's setup.cfg, what to change and what to run."""
    lists = {
        "source_paths": PACKAGES,
        "also_copy": sorted({path.name for path in folder.iterdir()} - {*PACKAGES, "mutants"}),
        "only_mutate": [case.file],
        "pytest_add_cli_args": [*WITHOUT, "-m", "not slow"],
        "pytest_add_cli_args_test_selection": case.tests,
    }
    config = configparser.ConfigParser(interpolation=None)
    config.read(folder / "setup.cfg", encoding="utf-8")
    config["mutmut"] = {name: "\n".join(["", *values, ""]) for name, values in lists.items()}
    config["mutmut"]["process_isolation"] = "forkserver"  # a mutant inherits no cache of another's
    config["mutmut"]["timeout_multiplier"] = "10"
    config["mutmut"]["timeout_constant"] = "2"
    with (folder / "setup.cfg").open("w", encoding="utf-8") as file:
        config.write(file)


def mutmut(folder: Path, *words: str) -> str:
    """Return what a mutmut command prints in the copy; its words, if it fails, end the run."""
    command = [str(Path(sys.executable).parent / "mutmut"), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"mutmut {' '.join(words)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def changed(mutants: list[str], case: Case, folder: Path) -> list[Change]:
    """Return the function that each mutant changes, its lines before and after, no comments."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    changes = []
    with contextlib.chdir(folder):
        for mutant in mutants:
            lines = get_diff_for_mutant(mutant, path=case.file).splitlines()[2:]  # without names
            before, after = (
                " ".join(
                    re.sub("  # .*", "", line[1:]).strip() for line in lines if line[0] == sign
                )
                for sign in "-+"
            )
            changes.append((function_of(mutant), before, after))
    return changes


def examine(case: Case, folder: Path, children: int) -> dict[str, Any]:
    """Return what became of a file's mutants, and each that survived."""
    original = (ROOT / case.file).read_text(encoding="utf-8")
    (folder / case.file).write_text(without_decorators(original), encoding="utf-8")
    configure(folder, case)
    run = ("run", "--max-children", str(children))
    before = statuses_in(folder)
    mutmut(folder, *run)
    if again := [name for name in alive(statuses_in(folder)) if before.get(name) in SURVIVED]:
        mutmut(folder, *run, *again)
    statuses = statuses_in(folder)
    survivors = alive(statuses)
    (folder / case.file).write_text(original, encoding="utf-8")
    return {
        "mutants": len(statuses),
        **{status: [*statuses.values()].count(status) for status in FOUND},
        "survived": len(survivors),
        "share_killed": round(1 - len(survivors) / len(statuses), 3),
        "survivors": changed(survivors, case, folder),
    }


def statuses_in(folder: Path) -> dict[str, str]:
    """Return what became of each mutant so far, by its name."""
    if not (folder / "mutants").is_dir():
        return {}
    printed = mutmut(folder, "results", "--all", "true")
    return dict(re.findall(r"^\s+(\S+): (.+)$", printed, re.MULTILINE))


def alive(statuses: dict[str, str]) -> list[str]:
    """Return the mutants that no test has killed."""
    return [name for name, status in statuses.items() if status not in FOUND]


def function_of(mutant: str) -> str:
    """Return the function that a mutant changes."""
    name = re.sub(r"__mutmut_\d+$", "", mutant.rpartition(".")[2])
    return name[1:].lstrip("ǁ").replace("ǁ", ".") if "ǁ" in name else name.removeprefix("x_")


def explained(file: str, survivors: list[Change]) -> tuple[list[dict[str, str]], list[str]]:
    """Return the survivors with their explanations, and what is wrong with these."""
    reasons = {change: why for why, changes in WHY.get(file, {}).items() for change in changes}
    found = {f"{function}: {after}": before for function, before, after in survivors}
    wrong = [f"unexplained: {change}" for change in found if change not in reasons]
    wrong += [f"explained, but killed: {change}" for change in reasons if change not in found]
    return [
        {"before": before, "after": change, "why": reasons.get(change, "")}
        for change, before in found.items()
    ], wrong


def main() -> None:
    """Mutate file after file, print and write."""
    parser = arguments(__doc__, "mutants_cpu.json")
    parser.add_argument("names", nargs="*", help="only files called so, such as loss")
    parser.add_argument("--children", type=int, default=1, help="mutants tested at a time")
    parser.add_argument("--folder", type=Path, help="keep the copies, and what was killed, here")
    args = parser.parse_args()
    named = [case for case in CASES if not args.names or Path(case.file).stem in args.names]
    files: dict[str, dict[str, Any]] = {}
    if args.names and args.output.is_file():
        files = json.loads(args.output.read_text())["files"]
    wrong = []
    with TemporaryDirectory() as temporary:
        for case in [SMOKE] if args.smoke else named:
            folder = (args.folder or Path(temporary)) / Path(case.file).stem
            write_copy(folder)
            found = examine(case, folder, args.children)
            found["survivors"], problems = explained(case.file, found["survivors"])
            files[case.file] = {"tests": list(case.tests), **found}
            wrong += problems
            line = f"{case.file}: {found['mutants']} mutants, {found['survived']} survived"
            print(line, *problems, sep="\n  ", flush=True)
    share = report(args, files)
    if wrong or share < LEAST:
        sys.exit(1)


def report(args: argparse.Namespace, files: dict[str, dict[str, Any]]) -> float:
    """Print and write what became of all files; return the share of mutants that were killed."""
    total = {key: sum(row[key] for row in files.values()) for key in ("mutants", "survived")}
    share = 1 - total["survived"] / total["mutants"]
    print(f"{share:.1%} of {total['mutants']} mutants were killed, wanted at least {LEAST:.0%}")
    if not args.smoke:
        tool = {"name": "mutmut", "version": version("mutmut")}
        content = {"tool": tool, **total, "share_killed": round(share, 3), "files": files}
        write_result(args.output, "python benchmarks/mutants.py", content)
    return share


if __name__ == "__main__":
    main()
