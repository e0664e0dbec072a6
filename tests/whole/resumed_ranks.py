"""Runs of two processes, broken off and gone on with, under torchrun: below the folder named first.

whole-<dtype>       five steps with a checkpoint behind the third
again-<dtype>       gone on with from that checkpoint, by as many processes
one-then-two        gone on with from the third step of a run of one process, `alone`

In float32 groups that agree are drawn again, and the reference follows the policy, so that behind
the third step it is neither the start model nor the policy; in bfloat16 there is a curriculum.
"""

import shutil
import sys
from pathlib import Path

SETTINGS = {
    "model": "tiny",
    "train_json": ["phantoms:CT"],
    "image_size": 84,
    "max_steps": 5,
    "save_every": 3,
    "keep_checkpoints": 9,
    "learning_rate": 4e-4,
    "max_completion_tokens": 16,
    "prompts_per_step": 3,
    "group_size": 4,
    "seed": 5,
}
DTYPES = ("float32", "bfloat16")
HALF = "step-000003"
OF_DTYPE: dict[str, dict[str, object]] = {
    "float32": {"dynamic_sampling": 2, "reference_sync": 2, "beta": 0.5},
    "bfloat16": {"curriculum": "pass_rate"},
}


def start(place: Path, dtype: str = "float32") -> None:
    """Train five steps."""
    import train
    from grpo.settings import resolve_config

    named = {"dtype": dtype, "output_dir": str(place)}
    train.run(resolve_config({**SETTINGS, **OF_DTYPE[dtype], **named}))


def go_on(run: Path, place: Path) -> None:
    """Go on with a copy of a run from its third step."""
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
