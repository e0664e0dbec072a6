"""What the checkpoints of a run and the files of their trainer/ are called.

Nothing imports torch.
"""

import re
from pathlib import Path

from models.checkpoint.manifest import TRAINER

STATE, OPTIMIZER, RNG, REFERENCE = (
    f"{TRAINER}{name}"
    for name in (
        *("state.json", "optimizer.safetensors", "rng.safetensors"),
        "reference.safetensors",  # where --reference-sync has moved it: grpo/run/reference_sync.py
    )
)


def index_of(file: str) -> str:
    """Return the index that stands for a file where its tensors lie in several.

    What it holds: models/checkpoint/parts.py.

    >>> index_of("trainer/optimizer.safetensors")
    'trainer/optimizer.safetensors.index.json'
    """
    return f"{file}.index.json"


INDEX = index_of(OPTIMIZER)
_NAME = re.compile(r"step-(\d{6,})")


def checkpoints_of(run: Path) -> list[Path]:
    """Return the run's checkpoints, oldest first; unfinished ones are not among them."""
    found = [path for path in (run / "checkpoints").glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """Return the step that a checkpoint's name says.

    >>> step_of(Path("run/checkpoints/step-000100"))
    100
    """
    return int(checkpoint.name.removeprefix("step-"))


def rng_file(rank: int) -> str:
    """Return the file of a process's random generators.

    >>> rng_file(0), rng_file(1)
    ('trainer/rng.safetensors', 'trainer/rng-00001.safetensors')
    """
    return f"{TRAINER}rng-{rank:05d}.safetensors" if rank else RNG


def rng_files(checkpoint: Path) -> list[str]:
    """Return the files of the random generators, one per process that saved, in rank order."""
    more = sorted((checkpoint / TRAINER).glob("rng-*.safetensors"))
    return [RNG, *(f"{TRAINER}{file.name}" for file in more)]
