"""Runs of two processes, broken off and gone on with, under torchrun: below the folder named first.

whole-<dtype>       four steps with a checkpoint behind the second
again-<dtype>       gone on with from that checkpoint, by as many processes
one-then-two        gone on with from the second step of a run of one process, `alone`
"""

import shutil
import sys
from pathlib import Path

SETTINGS = {
    "model": "tiny",
    "train_json": ["phantoms:CT"],
    "image_size": 84,
    "max_steps": 4,
    "save_every": 2,
    "keep_checkpoints": 9,
    "learning_rate": 4e-4,
    "max_completion_tokens": 16,
    "prompts_per_step": 3,
    "group_size": 4,
    "seed": 5,
}
DTYPES = ("float32", "bfloat16")
HALF = "step-000002"


def start(place: Path, dtype: str = "float32") -> None:
    """Train four steps."""
    import train
    from grpo.settings import resolve_config

    train.run(resolve_config({**SETTINGS, "dtype": dtype, "output_dir": str(place)}))


def go_on(run: Path, place: Path) -> None:
    """Go on with a copy of a run from its second step."""
    import train
    from process.ranks import world

    world().by_the_first("copying", lambda: shutil.copytree(run, place) and None)
    train.resume(place, resume_from=HALF)


def main(folder: Path) -> None:
    """Do all of them."""
    for dtype in DTYPES:
        start(folder / f"whole-{dtype}", dtype)
        go_on(folder / f"whole-{dtype}", folder / f"again-{dtype}")
    go_on(folder / "alone", folder / "one-then-two")


if __name__ == "__main__":
    from process.ranks import joined

    with joined():
        main(Path(sys.argv[1]))
