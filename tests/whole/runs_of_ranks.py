"""Several runs one after the other, in one process or under torchrun: below the folder named first.

Each is small, and odd in its own way: what the processes have differs in number, or is nothing.
"""

import json
import sys
from pathlib import Path
from typing import Any

COMMON = {
    "model": "tiny",
    "train_json": ["phantoms:CT"],
    "image_size": 84,
    "max_steps": 3,
    "learning_rate": 4e-4,
    "max_completion_tokens": 20,
    "save_every": 0,
    "seed": 3,
}
ROWS, NUM_ROWS = "rows.json", 12  # a few of the embedded ones, as a file below the folder

CASES: dict[str, dict[str, Any]] = {
    # 5 groups, one more in the first process than in the second; micro-batches of one group or so
    "uneven": {
        "prompts_per_step": 5,
        "advantage_scale": "batch",
        "loss_normalization": "token",
        "num_iterations": 2,
        "micro_batch_tokens": 150,
    },
    # one group alone: all processes but one have none; without a KL few groups are run at all
    "one group": {"prompts_per_step": 1, "beta": 0.0, "grounding": "penalty", "max_steps": 4},
    # every group agrees in all processes, or in some
    "agreeing": {"prompts_per_step": 3, "beta": 0.0, "temperature": 0.05, "group_size": 2},
    "frozen tower": {
        "prompts_per_step": 3,
        "freeze_vision": True,
        "gradient_checkpointing": True,
        "grounding": "scale",
        "mask_truncated": True,
        "loss_normalization": "constant",
        "entropy_bonus": 0.02,
        "top_entropy_share": 0.5,
    },
    # the reference is the policy itself; checkpoints hold merged weights, and adapters beside them
    "adapters": {
        "prompts_per_step": 3,
        "lora_rank": 4,
        "lora_targets": ["all-linear"],
        "merge_adapters": True,
        "learning_rate": 2e-3,
        "gradient_checkpointing": True,
    },
    # answers of two, three or four options, more prompts in the first process than in the second
    "listed": {
        "exact_no_think": True,
        "mode": "no_think",
        "train_json": ["phantoms:CT", "phantoms:yes_no:CT"],
        "prompts_per_step": 5,
        "micro_batch_tokens": 60,
    },
    # places to fill in some processes and not in others, by tokens from the ids that were kept
    "redrawn": {
        "prompts_per_step": 5,
        "group_size": 2,
        "dynamic_sampling": 2,
        "grounding": "scale",
        "temperature": 0.7,
        "logprob_distribution": "filtered",
        "top_k": 30,
        "top_p": 0.9,
        "reference_sync": 2,
        "beta": 0.3,
        "entropy_bonus": 0.02,
    },
    # few rows, so that what came of the first steps moves what the later ones draw
    "curriculum": {
        "train_json": [ROWS],
        "prompts_per_step": 5,
        "curriculum": "pass_rate",
        "shuffle_options": True,
        "beta_schedule": "linear",
        "max_steps": 5,
    },
    "supervised": {"method": "sft", "prompts_per_step": 5, "micro_batch_tokens": 100},
}


def write_rows(folder: Path) -> None:
    """Write embedded questions in the published format, and their images beside them."""
    from data.images import decode
    from data.phantoms.export import image_path, published_row
    from data.phantoms.parts import phantom_examples

    examples = phantom_examples("train")[:NUM_ROWS]
    for example in examples:
        place = folder / image_path(example)
        place.parent.mkdir(parents=True, exist_ok=True)
        decode(example.images[0]).save(place)
    (folder / ROWS).write_text(json.dumps([published_row(one) for one in examples]))


def settings_of(name: str, folder: Path) -> dict[str, Any]:
    """Return a case's settings, for a run below the folder."""
    settings: dict[str, Any] = {**COMMON, **CASES[name], "output_dir": str(folder / name)}
    if settings["train_json"] == [ROWS]:
        settings |= {"train_json": [str(folder / ROWS)], "image_root": str(folder)}
    return settings


def main(folder: Path, names: list[str]) -> None:
    """Train the named cases, or all."""
    import train
    from grpo.settings import resolve_config
    from process.ranks import world

    world().by_the_first("writing rows", lambda: write_rows(folder))
    for name in names or CASES:
        train.run(resolve_config(settings_of(name, folder)))


if __name__ == "__main__":
    from process.ranks import joined

    with joined():
        main(Path(sys.argv[1]), sys.argv[2:])
