"""Which tests are a file's, read from the text: tests are laid out like the source they test."""

from functools import cache
from pathlib import Path

from scripts.structure.tree import COMMANDS, PACKAGES, SourceFile


def find_tests(root: Path, given: str) -> list[str]:
    """Return what to hand to pytest for one file or folder of ours, as paths from the root.

    A test stands for itself; a folder for its own examples and the tests laid out like it, and so
    it does for a file of its that no test imports.

    Raises:
        ValueError: it is no Python file or folder of this checkout, or no test is found for it.
    """
    there = (root / given if (root / given).exists() else Path(given)).resolve()
    if not there.exists():
        raise ValueError(f"there is no {given}: name a file by its path from {root}")
    if not there.is_relative_to(root) or not (there.is_dir() or there.suffix == ".py"):
        raise ValueError(f"{given} is no Python file of {root}: name one such as grpo/loss.py")
    path = there.relative_to(root)
    if path.parts[:1] == ("tests",):
        return [path.as_posix()]
    beside = _mirror(root, path)
    found = {one.relative_to(root) for one in beside if one.exists()}
    if path.parts[0] in (*PACKAGES, *COMMANDS):
        found.add(path)  # its docstrings' examples
    if there.is_file():
        found |= _importers(root, path)
    if not any(one.parts[0] == "tests" for one in found):
        folder = Path("tests") / path.parent
        if folder == Path("tests") or not (root / folder).is_dir():
            raise ValueError(f"no test imports {given}, and none is laid out like its folder")
        found.add(folder)
    return sorted(one.as_posix() for one in found)


def _mirror(root: Path, path: Path) -> list[Path]:
    """Return where the tests of a path lie; those of commands and scripts stand together."""
    if (root / path).is_dir():
        return [root / "tests" / path]
    name = f"test_{path.name}"
    rooms = {".": "whole", "scripts": "project"}
    parent = path.parent.as_posix()
    return [root / "tests" / rooms.get(parent, parent) / name]


def _importers(root: Path, path: Path) -> set[Path]:
    """Return the test files that import a file, themselves or through a helper of the tests."""
    imports = {
        file: _imports(root, file.relative_to(root))
        for file in sorted((root / "tests").rglob("*.py"))
    }
    found: set[Path] = set()
    wanted = [path]
    while wanted:
        module, exported = _names(root, wanted.pop())
        new = {
            file
            for file, names in imports.items()
            if file not in found
            and any(
                module in (source, f"{source}.{name}") or (source, name) in exported
                for source, name in names
            )
        }
        found |= new
        wanted += [file.relative_to(root) for file in new if not _is_test(file)]
    return {file.relative_to(root) for file in found if _is_test(file)}


def _is_test(file: Path) -> bool:
    return file.name.startswith("test_")


@cache  # a checkout's tests are read once for many files
def _imports(root: Path, path: Path) -> set[tuple[str, str | None]]:
    """Return (module, name in it or None) of each import in a file."""
    source = SourceFile(path.as_posix(), (root / path).read_text(encoding="utf-8"))
    return {(module, name) for module, name, *_ in source.imports()}


def _names(root: Path, path: Path) -> tuple[str, set[tuple[str, str | None]]]:
    """Return a file's dotted name, and what its package's `__init__.py` takes from it."""
    dotted = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    door = path.parent / "__init__.py"
    if path == door or not (root / door).is_file():
        return dotted, set()
    package = ".".join(door.parent.parts)
    taken = {name for module, name in _imports(root, door) if module == dotted}
    return dotted, {(package, name) for name in taken}
