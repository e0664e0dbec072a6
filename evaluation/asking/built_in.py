"""What is said where a file or folder is called as something built in: `tiny`, `phantoms`."""

from collections.abc import Iterable
from pathlib import Path

from data.named import is_phantoms
from models.files import EMBEDDED


def say_same_names(models: Iterable[str], sources: Iterable[str]) -> None:
    """Print one note per built-in name that a path here has too.

    Args:
        models: as --model or --models name them.
        sources: as --json, --train-json .. name them.
    """
    meant = {name: "the embedded model" for name in models if name in EMBEDDED}
    meant |= {name: "the embedded data" for name in sources if is_phantoms(name)}
    for name, meaning in meant.items():
        if Path(name).exists():
            print(f"note: {name} is {meaning}; the path beside you is ./{name}")
