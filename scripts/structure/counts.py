"""What is counted in the files, each measure a function of the source alone.

Lines are lines of the file, empty ones too; a function's run from its `def` to its end.
"""

import ast
import io
import symtable
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

from scripts.structure.tree import Source, SourceFile

Measures = dict[str, Any]  # a number, a text, or a list of texts (its length is the number)

LONG = 50  # lines of a function
DIRECTIVES = ("# fmt:", "# ruff:", "# noqa", "# type:", "# mypy:", "#!")
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)


def sizes(source: Source) -> Measures:
    """Return how long files and functions are, and which is the longest."""
    files = {path: len(file.lines) for path, file in source.files.items()}
    functions = {
        f"{path}:{node.lineno} {node.name}": _length(node)
        for path, file in source.files.items()
        for node in file.functions()
    }
    over = sorted((name for name in functions if functions[name] > LONG), key=functions.__getitem__)
    return {
        "files": len(files),
        "lines": sum(files.values()),
        "file lines, median": median(files.values()),
        "file lines, longest": max(files.values()),
        "longest file": max(files, key=files.__getitem__),
        "functions": len(functions),
        "function lines, median": median(functions.values()) if functions else None,
        "function lines, longest": max(functions.values(), default=None),
        "longest function": max(functions, key=functions.__getitem__, default=None),
        f"functions over {LONG} lines": [f"{functions[name]:>4} {name}" for name in over[::-1]],
        **{f"{room}/ lines": _lines_of(source, room) for room in ("evaluation", "models")},
    }


def _length(node: ast.stmt) -> int:
    return _last_line(node) - node.lineno + 1


def _last_line(node: ast.stmt | ast.expr) -> int:
    return node.end_lineno or node.lineno


def _lines_of(source: Source, room: str) -> int:
    return sum(len(file.lines) for file in source.within(room).values())


def function_page(source: Source, path: str, name: str) -> Measures:
    """Return how much a reader of one top-level function has to hold.

    Locals are the names that its own body binds, without parameters and `_`; statements are all
    below the `def`, the docstring one of them; branches are if, the conditional expression, for,
    while, except and case.
    """
    labels = ("lines", "parameters", "locals", "statements", "branches")
    file = source.files.get(path)
    found = [node for node in file.tree.body if name in _definitions(node)] if file else []
    if file is None or not found:
        return dict.fromkeys(labels)
    node, below = found[0], list(ast.walk(found[0]))[1:]
    tables = symtable.symtable(file.text, path, "exec").get_children()
    table = next(one for one in tables if one.get_name() == name)
    assert isinstance(table, symtable.Function)
    bound = [one for one in table.get_symbols() if one.is_local() and not one.is_parameter()]
    counts = (
        _length(node),
        len(table.get_parameters()),
        sum(one.get_name() != "_" for one in bound),
        sum(isinstance(one, ast.stmt) for one in below),
        sum(isinstance(one, BRANCHES) for one in below),
    )
    return dict(zip(labels, counts, strict=True))


def import_statements(source: Source, paths: Iterable[str]) -> Measures:
    """Return the import statements of each file, at any depth; a statement may name many."""
    return {
        path: sum(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(file.tree))
        for path in paths
        if (file := source.files.get(path))
    }


def repeated_names(source: Source) -> Measures:
    """Return the public names and the file names that stand in more than one place.

    A constant is here what the top level of a file assigns: types by another name among them.
    """
    folders = defaultdict(set)
    for file in source.files.values():
        if file.name not in ("__init__.py", "__main__.py"):
            folders[file.name].add(file.folder)
    return {
        "functions and classes in two files": _in_two(_defined(source, _definitions)),
        "constants in two files": _in_two(_defined(source, _constants)),
        "file names in two folders": _in_two(folders),
    }


def _definitions(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    return []


def _constants(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _defined(source: Source, names: Callable[[ast.stmt], list[str]]) -> dict[str, set[str]]:
    places = defaultdict(set)
    for path, file in source.files.items():
        for name in (name for node in file.tree.body for name in names(node)):
            if not name.startswith("_"):
                places[name].add(path)
    return places


def _in_two(places: dict[str, set[str]]) -> list[str]:
    return [f"{name}: {', '.join(sorted(places[name]))}" for name in sorted(places)
            if len(places[name]) > 1]  # fmt: skip


def comments(source: Source, rooms: Iterable[str]) -> Measures:
    """Return own-line comments per 100 lines of code.

    A line of code holds a token that is neither a comment nor part of a docstring; a comment of
    several lines counts each; those that only steer a tool (DIRECTIVES) are left out.
    """
    files = [file for room in rooms for file in source.within(room).values()]
    own = sum(len(_own_line_comments(file)) for file in files)
    code = sum(len(_code_lines(file)) for file in files)
    rate = round(100 * own / code, 1) if code else None
    return {"own-line comments": own, "lines of code": code, "per 100 lines of code": rate}


def _own_line_comments(file: SourceFile) -> list[str]:
    texts = (token.line.strip() for token in _tokens(file) if token.type == tokenize.COMMENT)
    return [text for text in texts if text.startswith("#") and not text.startswith(DIRECTIVES)]


def _code_lines(file: SourceFile) -> set[int]:
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE}
    blank |= {tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [token for token in _tokens(file) if token.type not in blank]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, _last_line(node) + 1))
    return lines


def _tokens(file: SourceFile) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(file.text).readline))


def run_through(source: Source, ran: Iterable[tuple[str, int, str]]) -> Measures:
    """Return the files, functions and lines behind (path, first line, name) of code that ran.

    A function's lines are all of its lines, those that were jumped over too; a line inside two
    functions counts once. Lambdas, comprehensions and classes are lines of the `def` around them.
    """
    starts, functions, lines = set(map(tuple, ran)), set(), set()
    for path, file in source.files.items():
        for node in file.functions():
            first = min(one.lineno for one in (node, *node.decorator_list))
            if (path, first, node.name) in starts:
                functions.add((path, first))
                lines |= {(path, line) for line in range(node.lineno, _last_line(node) + 1)}
    files = {path for path, _ in functions}
    return {"files": len(files), "functions": len(functions), "lines": len(lines)}
