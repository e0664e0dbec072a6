"""Who may import whom. Arrows point one way, so a file can be read without the layer above it."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.project.imports import imports_of, modules_of, watch_imports, within

MAY_IMPORT = {
    "rewards": set(),
    "models": {"process"},
    "process": set(),
    "data": {"process", "rewards.modes", "rewards.forms"},  # what prompts and parser share
    "grpo": {"models", "process", "rewards.modes"},  # whose names --mode takes
    "evaluation": {"data", "rewards", "models", "grpo", "process"},
    "configs": set(),
}
COMMANDS = ("train", "evaluate")  # these may import all of it
OURS = {*MAY_IMPORT, *COMMANDS, "groupwise_commands", "tests", "scripts", "benchmarks"}
every_package = pytest.mark.parametrize("package", MAY_IMPORT)


def private_names_taken(source: str) -> list[str]:
    """Return the private names of other files of ours that a source imports or looks up."""
    taken, modules = [], {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {one.asname or one.name: one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
            modules |= names
            if node.level or node.module.split(".")[0] in OURS:
                taken += [name for name in names.values() if is_private(name)]
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            module = modules.get(ast.unparse(node.value), "")
            if module.split(".")[0] in OURS:
                taken.append(f"{module}.{node.attr}")
    return taken


def is_private(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last.startswith("_") and not last.startswith("__")


@every_package
def test_imports_follow_the_arrows(package):
    allowed = MAY_IMPORT[package] | {package}
    for path, names in imports_of(package).items():
        ours = {name for name in names if name.split(".")[0] in OURS}
        broken = {name for name in ours if not any(within(name, one) for one in allowed)}
        assert not broken, f"{path} imports {sorted(broken)}: see MAY_IMPORT"


@pytest.mark.parametrize("package", ["rewards", "process"])
def test_some_need_the_standard_library_only(package):
    known = sys.stdlib_module_names | {package} | ({"tqdm"} if package == "process" else set())
    for path, names in imports_of(package).items():
        # processes talk through torch, which they import once there is somebody to talk to
        talks = {"torch", "safetensors"} if "ranks" in path.parts else set()
        foreign = {name for name in names if name.split(".")[0] not in known | talks}
        assert not foreign, f"{path} imports {sorted(foreign)}: {package} is standard library only"


def test_data_does_not_load_torch():
    for path, names in imports_of("data").items():
        heavy = {name for name in names if name.split(".")[0] in ("torch", "transformers")}
        assert not heavy, f"{path} imports {sorted(heavy)}: data is read without them"


@pytest.mark.command
def test_importing_the_packages_does_no_work():
    packages = ("grpo", "models", "data", "rewards", "evaluation")
    result = watch_imports(*packages, "--not", "torch", "transformers")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.command
def test_importing_any_module_does_no_work():
    modules = [name for package in MAY_IMPORT for name in modules_of(package)]
    result = watch_imports(*modules, *COMMANDS)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.command
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
    result = check_busy(tmp_path)
    assert result.returncode == 1
    assert re.search(work, result.stdout), result.stdout


@pytest.mark.command
def test_what_a_library_says_at_its_import_is_the_librarys(tmp_path):
    (tmp_path / "library.py").write_text("import sys\nprint('out')\nprint('err', file=sys.stderr)")
    (tmp_path / "busy.py").write_text("import library")
    result = check_busy(tmp_path)
    assert result.returncode == 0, result.stdout


def check_busy(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "check_imports.py", "busy", "--not", "sqlite3"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


def test_no_file_reaches_into_the_private_names_of_another():
    files = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]
    files += [ROOT / f"{name}.py" for name in (*COMMANDS, "groupwise_commands")]
    for path in files:
        taken = private_names_taken(path.read_text(encoding="utf-8"))
        assert not taken, f"{path.relative_to(ROOT)} uses {taken}: make them public, or ask there"


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ("from grpo.loss import _ratio, ratio", ["grpo.loss._ratio"]),
        ("from models import policy as way\nway._fold(1)", ["models.policy._fold"]),
        ("import models.policy\nmodels.policy._fold(1)", ["models.policy._fold"]),
        ("import models.policy as way\nway._fold(1)", ["models.policy._fold"]),
        ("from .page import _cells", ["page._cells"]),
        ("def f():\n    from data import images\n    images._read()", ["data.images._read"]),
        ("import os\nos._exit(1)\nself._own = other._kin", []),  # not ours; objects cannot be told
        ("from models import policy\npolicy.__name__", []),
    ],
)
def test_reaching_into_private_names_is_noticed(source, taken):
    assert private_names_taken(source) == taken
