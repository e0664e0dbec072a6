"""Several runs one after the other, in one process or under torchrun: below the folder named first.

Each is small, and odd in its own way: what the processes have differs in number, or is nothing.
"""

import sys
from pathlib import Path

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
CASES = {
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
    "supervised": {"method": "sft", "prompts_per_step": 5, "micro_batch_tokens": 100},
}


def main(folder: Path, names: list[str]) -> None:
    """Train the named cases, or all."""
    import train
    from grpo.settings import resolve_config

    for name in names or CASES:
        settings = {**COMMON, **CASES[name], "output_dir": str(folder / name)}
        train.run(resolve_config(settings))


if __name__ == "__main__":
    from process.ranks import joined

    with joined():
        main(Path(sys.argv[1]), sys.argv[2:])
