"""Rows that belong together: they show one image, one file's bytes, or one patient."""

import posixpath
from collections.abc import Hashable, Iterable, Mapping, Sequence

from data.examples import VQAExample
from data.patients import patients_of


def components(keys: Sequence[Iterable[Hashable]]) -> list[list[int]]:
    """Return the connected components of rows that share a key, each as ascending row numbers.

    Components are ordered by their first row; a row without a key stands alone.

    >>> components([["a"], ["b"], ["a", "c"], ["c"], []])
    [[0, 2, 3], [1], [4]]
    """
    parents = list(range(len(keys)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]  # halves the way for the next who asks
            row = parents[row]
        return row

    first_with: dict[Hashable, int] = {}
    for row, its_keys in enumerate(keys):
        for key in its_keys:
            one, other = root(first_with.setdefault(key, row)), root(row)
            parents[max(one, other)] = min(one, other)
    groups: dict[int, list[int]] = {}
    for row in range(len(keys)):
        groups.setdefault(root(row), []).append(row)
    return list(groups.values())


def row_keys(
    example: VQAExample, *, patient: bool = False, contents: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Return what ties a row to others: its images' paths and, where asked for, more.

    Args:
        example: the row.
        patient: add the patient or series where row or file name gives it (data/patients.py).
        contents: checksum of the file by image name; a name that is missing adds nothing.
    """
    keys = [("image", image_key(name)) for name in example.image_names]
    for name in example.image_names:
        if contents and name in contents:
            keys.append(("content", contents[name]))
    if patient:
        keys += [("patient", found) for found in sorted(patients_of(example))]
    return keys


def image_key(name: str) -> str:
    """Return an image's path in one spelling.

    >>> image_key("Images/./Mura//a.png") == image_key("Images\\\\Mura\\\\a.png")
    True
    """
    return posixpath.normpath(name.replace("\\", "/"))
