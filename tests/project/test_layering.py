"""Who may import whom. Arrows point one way, so a file can be read without the layer above it."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

MAY_IMPORT = {
    "rewards": set(),
    "models": set(),
    "process": set(),
    "data": {"process", "rewards.modes"},  # the tags that prompts and parser share
    "grpo": {"models", "process", "rewards.modes"},  # whose names --mode takes
    "evaluation": {"data", "rewards", "models", "grpo", "process"},
    "configs": set(),
}
COMMANDS = ("train", "training", "evaluate")  # these may import all of it
OURS = {*MAY_IMPORT, *COMMANDS, "groupwise_commands", "tests", "scripts", "benchmarks"}
PURE = ("grpo/advantages.py", "grpo/loss.py")  # maths that reads alone
every_package = pytest.mark.parametrize("package", MAY_IMPORT)


def imported_modules(source: str, package: str) -> set[str]:
    """Return the dotted names of every import in the source, at any depth.

    ``from a import b`` gives ``a.b``, whether b is a module or a name in a.

    >>> sorted(imported_modules("import a.b, c\\nfrom d import e\\nfrom .f import g", "data"))
    ['a.b', 'c', 'd.e', 'data.f.g']
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A relative import stays inside its package; how deep does not matter here.
            parts = [package] if node.level else []
            parts += [node.module] if node.module else []
            names |= {".".join([*parts, alias.name]) for alias in node.names}
    return names


def within(name: str, allowed: str) -> bool:
    """Whether a dotted name is that module or lies in it."""
    return name == allowed or name.startswith(allowed + ".")


def imports_of(package: str) -> dict[Path, set[str]]:
    """Return what each file of a package imports, by the file's path from the root."""
    return {
        path.relative_to(ROOT): imported_modules(path.read_text(encoding="utf-8"), package)
        for path in sorted((ROOT / package).rglob("*.py"))
    }


@every_package
def test_imports_follow_the_arrows(package):
    allowed = MAY_IMPORT[package] | {package}
    for path, names in imports_of(package).items():
        ours = {name for name in names if name.split(".")[0] in OURS}
        broken = {name for name in ours if not any(within(name, one) for one in allowed)}
        assert not broken, f"{path} imports {sorted(broken)}: see MAY_IMPORT"


@pytest.mark.parametrize("file", PURE)
def test_the_maths_reads_alone(file):
    names = imported_modules((ROOT / file).read_text(encoding="utf-8"), "grpo")
    siblings = {name for name in names if name.split(".")[0] in OURS}
    assert not siblings, f"{file} imports {sorted(siblings)}: it is to be read without them"


@pytest.mark.parametrize("package", ["rewards", "process"])
def test_some_need_the_standard_library_only(package):
    known = sys.stdlib_module_names | {package} | ({"tqdm"} if package == "process" else set())
    for path, names in imports_of(package).items():
        foreign = {name for name in names if name.split(".")[0] not in known}
        assert not foreign, f"{path} imports {sorted(foreign)}: {package} is standard library only"


def test_data_does_not_load_torch():
    for path, names in imports_of("data").items():
        heavy = {name for name in names if name.split(".")[0] in ("torch", "transformers")}
        assert not heavy, f"{path} imports {sorted(heavy)}: data is read without them"


def watch_imports(*arguments: str) -> subprocess.CompletedProcess:
    """Run scripts/check_imports.py in a process of its own, where nothing is loaded yet."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "check_imports.py", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_importing_the_packages_does_no_work():
    packages = ("grpo", "models", "data", "rewards", "evaluation")
    result = watch_imports(*packages, "--not", "torch", "transformers")
    assert result.returncode == 0, result.stdout + result.stderr


def test_importing_any_module_does_no_work():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in MAY_IMPORT
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "__main__.py"
    ]
    result = watch_imports(*modules, *COMMANDS)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("body", "work"),
    [
        ("open({path!r}).close()", "opened .*notes.txt"),
        ("open({path!r}, 'a').close()", "opened .*notes.txt"),
        ("print('hello')", "printed 'hello"),
        ("import subprocess, sys; subprocess.run([sys.executable, '-V'])", "subprocess.Popen"),
        ("import threading, time; threading.Thread(target=time.sleep, args=(1,)).start()", "1 thr"),
        ("import sqlite3", "sqlite3 was imported"),
    ],
)
def test_work_at_import_is_noticed(tmp_path, body, work):
    notes = tmp_path / "notes.txt"
    notes.write_text("x")
    (tmp_path / "busy.py").write_text(body.format(path=str(notes)))
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / "check_imports.py", "busy", "--not", "sqlite3"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert re.search(work, result.stdout), result.stdout
