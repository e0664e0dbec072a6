"""The product's source files as data: their text, their syntax tree, and who imports whom.

An arrow goes from the file that imports to the file that is named: `from a.b import c` names
a/b/c.py where there is one, else a/b.py, else a/b/__init__.py. Imports inside functions and under
TYPE_CHECKING count as well; a package's __init__.py counts only where the package itself is named.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

PACKAGES = ("grpo", "models", "data", "rewards", "evaluation", "process")
COMMANDS = ("train.py", "evaluate.py", "groupwise_commands.py")
Arrow = tuple[str, str]  # (from, to), two files or two folders

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class SourceFile:
    """One file: its path from the root with forward slashes, and its text."""

    path: str
    text: str

    @property
    def folder(self) -> str:
        """The folder it lies in, "." for the root."""
        return str(PurePosixPath(self.path).parent)

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def functions(self) -> list[Function]:
        """Return every def: methods and functions inside functions too."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    def imports(self) -> Iterator[tuple[str, str | None, str, int]]:
        """Yield (module, name in it or None, bound as, line) of each import at any depth."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, None, alias.asname or alias.name.split(".")[0], node.lineno
            elif isinstance(node, ast.ImportFrom):
                module = self._absolute(node)
                for alias in node.names:
                    yield module, alias.name, alias.asname or alias.name, node.lineno

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        above = PurePosixPath(self.path).parts[: -node.level]
        return ".".join([*above, *filter(None, [node.module])])


class Source:
    """The files of a checkout that are the product: PACKAGES and COMMANDS, as far as they exist."""

    def __init__(self, root: Path) -> None:
        paths = [path for name in PACKAGES for path in sorted((root / name).rglob("*.py"))]
        paths += [root / name for name in COMMANDS if (root / name).is_file()]
        if not paths:
            raise ValueError(f"{root} holds none of {', '.join(PACKAGES)}: give a checkout's root")
        found = ((path.relative_to(root).as_posix(), path.read_text("utf-8")) for path in paths)
        self.root = root
        self.files = {path: SourceFile(path, text) for path, text in found}

    def named_by(self, module: str, name: str | None) -> str | None:
        """Return our file that an import names, or None where it is not ours."""
        stems = [f"{module}.{name}".replace(".", "/")] if name else []
        stems.append(module.replace(".", "/"))
        candidates = (f"{stem}{end}" for stem in stems for end in (".py", "/__init__.py"))
        return next((path for path in candidates if path in self.files), None)

    @cached_property
    def arrows(self) -> set[Arrow]:
        """The distinct arrows between two files."""
        found = (
            (path, self.named_by(module, name))
            for path, file in self.files.items()
            for module, name, *_ in file.imports()
        )
        return {(path, named) for path, named in found if named and named != path}

    def within(self, folder: str) -> dict[str, SourceFile]:
        """Return the files in a folder and below it."""
        return {path: file for path, file in self.files.items() if path.startswith(f"{folder}/")}
