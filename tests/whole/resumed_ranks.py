"""Runs of two processes, broken off and gone on with, under torchrun: below the folder named first.

<kind>-whole         five steps with a checkpoint behind the third
<kind>-again         gone on with from that checkpoint, by as many processes
<kind>-one-then-two  gone on with from the third step of a run of one process, `<kind>-alone`

In float32 groups that agree are drawn again, and the reference follows the policy, so that behind
the third step it is neither the start model nor the policy. Of bfloat16 there is no run of one
process: its rounding depends on who adds up what.
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
    "prompts_per_step": 3,
    "seed": 5,
}
SAMPLED = {"group_size": 4, "max_completion_tokens": 16}
HALF = "step-000003"
KINDS: dict[str, dict[str, object]] = {
    "float32": {**SAMPLED, "dynamic_sampling": 2, "reference_sync": 2, "beta": 0.5},
    "bfloat16": {**SAMPLED, "dtype": "bfloat16", "curriculum": "pass_rate"},
    "curriculum": {**SAMPLED, "curriculum": "pass_rate"},
    # answers of two, three or four options
    "exact": {
        "exact_no_think": True,
        "mode": "no_think",
        "train_json": ["phantoms:CT", "phantoms:yes_no:CT"],
        "max_completion_tokens": 24,
    },
}
TO_OTHERS = ("float32", "curriculum", "exact")  # gone on with by another number of processes


def start(place: Path, kind: str) -> None:
    """Train five steps."""
    import train
    from grpo.settings import resolve_config

    named = {"dtype": "float32", "output_dir": str(place)}
    train.run(resolve_config({**SETTINGS, **named, **KINDS[kind]}))


def go_on(run: Path, place: Path) -> None:
    """Go on with a copy of a run from its third step."""
    import train
    from process.ranks import world

    world().by_the_first("copying", lambda: shutil.copytree(run, place) and None)
    train.resume(place, resume_from=HALF)


def main(folder: Path) -> None:
    """Do all of them."""
    for kind in KINDS:
        start(folder / f"{kind}-whole", kind)
        go_on(folder / f"{kind}-whole", folder / f"{kind}-again")
    for kind in TO_OTHERS:
        go_on(folder / f"{kind}-alone", folder / f"{kind}-one-then-two")


if __name__ == "__main__":
    from process.ranks import joined

    with joined():
        main(Path(sys.argv[1]))
