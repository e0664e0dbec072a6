"""Paths that a user gave, on a command line or in a TOML file: the type of every path flag."""

import os
from pathlib import Path


def expanded(path: str) -> str:
    """Return a path with its ~ expanded: a shell leaves it in --flag=~/x and in NAME=~/x.

    The user's home, or ~name's; one that is nobody's stays as it is.
    """
    return os.path.expanduser(path)  # noqa: PTH111 Path's own raises for an unknown user


def user_path(path: str) -> Path:
    """Return a path, its ~ expanded as `expanded` does, as a Path."""
    return Path(expanded(path))
