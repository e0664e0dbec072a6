"""How our commands are called here: what a message prints can be copied and run as it stands.

From a clone that is `python train.py`, with the path that was typed; of an installed groupwise
`groupwise-train`. A command that is not on the PATH is named by its place.
"""

import shlex
import shutil
import sys
from pathlib import Path

from process.ranks.place import Place, place

BESIDE_US = Path(__file__).resolve().parent.parent  # the clone, or site-packages


def command_line(script: str, *arguments: str) -> str:
    """Return the call of train.py or evaluate.py, quoted for a shell.

    A training of several processes is called as it was: by torchrun.

    Args:
        script: "train" or "evaluate".
        arguments: what follows.
    """
    called = Path(sys.argv[0])
    if called.stem in ("groupwise-train", "groupwise-evaluate"):
        words = [_findable(called.with_name(f"groupwise-{script}{called.suffix}"))]
    elif _installed():
        words = [_findable(Path(sys.executable).with_name(f"groupwise-{script}"))]
    elif called.name in ("train.py", "evaluate.py"):
        words = [_findable(Path(sys.executable), "python"), str(called.with_name(f"{script}.py"))]
    else:
        words = ["python", f"{script}.py"]
    if script == "train" and place().size > 1 and words[-1].endswith(".py"):
        words = [*_torchrun(place()), words[-1]]
    return shlex.join([*words, *arguments])


def _torchrun(here: Place) -> list[str]:
    """Return what starts as many processes as there are."""
    nodes = here.size // here.local_size
    several = ["--nnodes", str(nodes)] if nodes > 1 else []
    return ["torchrun", *several, "--nproc-per-node", str(here.local_size)]


def module_line(module: str, *arguments: str) -> str:
    """Return the call of `python -m` with one of our modules, quoted for a shell."""
    words = shlex.join([_findable(Path(sys.executable), "python"), "-m", module, *arguments])
    if _installed() or Path.cwd() == BESIDE_US:
        return words
    return f"PYTHONPATH={shlex.quote(str(BESIDE_US))} {words}"


def install_line(distribution: str) -> str:
    """Return what installs another distribution here; none of ours is on an index."""
    python = _findable(Path(sys.executable), "python")
    return shlex.join([python, "-m", "pip", "install", distribution])


def _installed() -> bool:
    return any(BESIDE_US.glob("groupwise-*.dist-info"))


def _findable(program: Path, name: str = "") -> str:
    """Return the program's name where the PATH leads to it, else its path."""
    name = name or program.name
    found = shutil.which(name)
    return name if found and Path(found).parent == program.parent else str(program)
