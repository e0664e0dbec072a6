"""Who leans on whom: arrows between files, folders and rooms, and private names across folders."""

import ast
from collections.abc import Callable, Iterable

from scripts.structure.counts import Measures
from scripts.structure.tree import Arrow, Source


def reached(source: Source, path: str) -> int | None:
    """Return how many files the imports of one lead to, itself among them."""
    if path not in source.files:
        return None
    seen, pending = {path}, [path]
    while pending:
        here = pending.pop()
        following = {to for start, to in source.arrows if start == here} - seen
        seen |= following
        pending += following
    return len(seen)


def private_accesses(source: Source) -> list[str]:
    """Return where a file uses a private name of another folder's file.

    That is `from a.b import _c`, and `b._c` where b was imported from one of our files; what is
    private in an object that came some other way cannot be told from the text.
    """
    found = []
    for path, file in source.files.items():
        foreign = {}
        for module, name, bound, line in file.imports():
            named = source.named_by(module, name)
            if named is None or source.files[named].folder == file.folder:
                continue
            foreign[bound] = named
            if _is_private(name):
                found.append(f"{path}:{line} {name} of {named}")
        found += [
            f"{path}:{node.lineno} {node.value.id}.{node.attr} of {foreign[node.value.id]}"
            for node in ast.walk(file.tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if node.value.id in foreign and _is_private(node.attr)
        ]
    return found


def _is_private(name: str | None) -> bool:
    return name is not None and name.startswith("_") and not name.startswith("__")


def between(arrows: Iterable[Arrow], place: Callable[[str], str | None]) -> set[Arrow]:
    """Return the distinct arrows between places; a file whose place is None has none."""
    pairs = {(place(start), place(to)) for start, to in arrows}
    return {(start, to) for start, to in pairs if start and to and start != to}


def folder_arrows(source: Source) -> Measures:
    """Return how folders lean on each other; the root's commands are the folder "."."""

    def folder(path: str) -> str:
        return source.files[path].folder

    def top(path: str) -> str:
        return folder(path).split("/")[0]

    folders, tops = between(source.arrows, folder), between(source.arrows, top)
    return {
        "files": len(source.files),
        "arrows between files": len(source.arrows),
        "top-level rooms": len({top(path) for path in source.files}),
        "arrows between top-level rooms": len(tops),
        "folders": len({folder(path) for path in source.files}),
        "arrows between folders": len(folders),
        "folders that import each other": [
            f"{start}, {to}"
            for start, to in sorted(folders)
            if start < to and (to, start) in folders
        ],
        "folder -> folders": [
            f"{start} -> {', '.join(sorted(to for one, to in folders if one == start))}"
            for start in sorted({start for start, _ in folders})
        ],
    }


def room_arrows(source: Source, package: str) -> Measures:
    """Return the rooms of a package, its files and sub-folders, and the arrows among them.

    Its own __init__.py is the door and no room: arrows to and from it are left out of the rooms'.
    """
    files = source.within(package)
    arrows = {(start, to) for start, to in source.arrows if start in files and to in files}

    def room(path: str) -> str | None:
        first = path.removeprefix(f"{package}/").split("/")[0]
        return None if first == "__init__.py" else first

    return {
        "files": len(files),
        "arrows between files": len(arrows),
        "rooms": len({room(path) for path in files} - {None}),
        "arrows between rooms": len(between(arrows, room)),
    }
