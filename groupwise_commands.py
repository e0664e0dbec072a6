"""The installed commands ``groupwise-train`` and ``groupwise-evaluate``.

Our modules have short names (train, evaluate, data, models ..) that other distributions use too. In
a shared environment another ``evaluate`` may be found before ours, or another ``data`` may have
written over our files. So, before anything of ours is imported, these commands look at the file
that each name leads to. From a clone nothing of this is needed: ``python train.py`` finds what
stands beside it first.
"""

import base64
import hashlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

HOME = Path(__file__).resolve().parent  # a site-packages folder, or the clone of `pip install -e`
OUR_FILES = {
    "train": HOME / "train.py",
    "evaluate": HOME / "evaluate.py",
    "grpo": HOME / "grpo" / "__init__.py",
    "models": HOME / "models" / "__init__.py",
    "data": HOME / "data" / "__init__.py",
    "rewards": HOME / "rewards" / "__init__.py",
    "evaluation": HOME / "evaluation" / "__init__.py",
    "process": HOME / "process" / "__init__.py",
    "configs": HOME / "configs" / "__init__.py",
}


def train() -> int | None:
    """Run train.py's ``main``; returns the exit status, 2 when its modules are not ours."""
    return _run("train")


def evaluate() -> int | None:
    """Run evaluate.py's ``main``; returns the exit status, 2 when its modules are not ours."""
    return _run("evaluate")


def _run(module: str) -> int | None:
    if not any(_shadowed(["process"])):
        with suppress(Exception):  # a file that was written over is told of below
            importlib.import_module("process.own_signals").take_signals()
    problems = [f"  - {problem}" for problem in (*_shadowed(), *_damaged())]
    if not problems:
        return importlib.import_module(module).main()
    message = [
        f"groupwise-{module}: some of groupwise's modules are not the ones that Python finds:",
        *problems,
        "Install groupwise in a virtual environment of its own, with PYTHONPATH unset, or run"
        f" `python {module}.py` from a clone.",
    ]
    print("\n".join(message), file=sys.stderr)
    return 2


def _shadowed(names: Iterable[str] = OUR_FILES) -> Iterator[str]:
    """Yield one line per name that leads to a file which is not ours."""
    for name in names:
        spec, expected = find_spec(name), OUR_FILES[name]
        if spec is None:
            yield f"{name} is missing: {expected} is gone, install groupwise again"
        elif spec.origin is None:  # a folder of that name without __init__.py
            yield f"{name} is the folder {list(spec.submodule_search_locations or ())}"
        elif Path(spec.origin).resolve() != expected:
            yield f"{name} is {spec.origin}{_owner(Path(spec.origin))}"


def _damaged() -> Iterator[str]:
    """Yield one line per file of ours that another distribution has replaced or taken away.

    pip writes two distributions' files of one name to one place without a word. What it recorded of
    ours tells; a file that was merely edited belongs to no other distribution and is left alone.
    """
    for ours in metadata.distributions(name="groupwise", path=[str(HOME)]):
        for file in ours.files or ():
            path = Path(str(file.locate()))
            if file.hash is None or path.suffix != ".py":
                continue
            if not path.is_file():
                yield f"{path} is gone: install groupwise again"
            elif _digest(path, file.hash.mode) != file.hash.value and (owner := _owner(path)):
                yield f"{path} was written over{owner}"


def _digest(path: Path, algorithm: str) -> str:
    """Return a file's hash in the form of a wheel's RECORD."""
    digest = hashlib.new(algorithm, path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _owner(path: Path) -> str:
    """Return ``, of NAME VERSION`` of another distribution that recorded the file, else nothing."""
    for distribution in metadata.distributions():
        if distribution.name == "groupwise":
            continue
        # The last part is compared first: looking up every recorded file on disk takes seconds.
        recorded = (file for file in distribution.files or () if file.name == path.name)
        if any(Path(str(file.locate())).resolve() == path.resolve() for file in recorded):
            return f", of the distribution {distribution.name} {distribution.version}"
    return ""
