"""What the files of the project import, read from their text; and what importing them does."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from tests.places import ROOT


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


def modules_of(package: str) -> list[str]:
    """Return the dotted names of a package's modules, those that run when they are imported aside.

    >>> "evaluation.answers.identity" in modules_of("evaluation/answers")
    True
    """
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "__main__.py"
    ]


def watch_imports(*arguments: str) -> subprocess.CompletedProcess:
    """Run scripts/check_imports.py in a process of its own, where nothing is loaded yet."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "check_imports.py", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
