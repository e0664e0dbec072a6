"""A step's passes of a sharded nano policy, in the processes of torchrun: what they sent, as JSON.

    torchrun --nproc-per-node 2 -m tests.project.scale_sent FOLDER

FOLDER has a checkpoint of each family; it gets sent.json, by the names of the cases.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.utils._python_dispatch import TorchDispatchMode

from grpo.likelihood import completion_logprobs, frozen_logprobs
from grpo.rollout import PromptBatch, Rollout
from grpo.sampling import Completions
from grpo.settings.config import GRPOConfig
from models import load_policy
from models.sharding.policy import ShardedPolicy
from models.sharding.shard import shard
from process.ranks import joined
from tests.models.nano import random_image

N, G, C, SIDE = 3, 2, 5, 56  # an image of 4 x 4 patches
CASES: dict[str, dict[str, Any]] = {
    "three micro-batches": {"family": "qwen2_vl", "budget": 60},
    "weights kept": {"family": "qwen2_vl", "budget": 60, "keeps": True},
    "a frozen tower": {"family": "qwen2_5_vl", "budget": 60, "frozen": True},
    "one micro-batch in bfloat16": {"family": "qwen2_5_vl", "budget": 4096, "dtype": "bfloat16"},
}


class Sent(TorchDispatchMode):
    """Counts gatherings and reductions, and the bytes that they carry."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            carried = max(tensor.nbytes for tensor in args[:2] if isinstance(tensor, torch.Tensor))
            found = self.found.setdefault(func.name().removeprefix("c10d::"), [0, 0])
            found[0] += 1
            found[1] += carried
        return func(*args, **(kwargs or {}))


def count(run: Callable[[], Any]) -> dict[str, list[int]]:
    """Return calls and bytes of each collective that a run makes."""
    with Sent() as sent:
        run()
    return sent.found


def measured(folder: Path, mesh: DeviceMesh, case: dict[str, Any]) -> dict[str, Any]:
    """Return what the passes of one step send, by pass, and how long a prompt is."""
    policy, reference = (load(folder, mesh, case, trains) for trains in (True, False))
    config = GRPOConfig(
        **{"prompts_per_step": N, "group_size": G, "max_completion_tokens": C},
        micro_batch_tokens=case["budget"],
        rewards=("format",),
    )
    encode = policy.processor.encode
    prompts = tuple(encode("Which?", [random_image(SIDE, SIDE)]) for _ in range(N))
    batch = PromptBatch(prompts, (None,) * N, tuple(range(N)), 0)
    ones = torch.ones(N * G, C)
    completions = Completions(
        ids=torch.full((N * G, C), 65),
        mask=ones.bool(),
        texts=[""] * N * G,
        logprobs=-ones,
        entropies=ones,
        truncated=ones[:, 0].bool(),
    )
    rollout = Rollout(batch, completions, G)

    def update() -> None:
        for part in rollout.parts(config.micro_batch_tokens):
            completion_logprobs(policy, part, 1.0).sum().backward()

    def score() -> None:
        frozen_logprobs(reference, rollout, config)

    return {
        "sampler": count(policy.sampler),
        "update": count(update),
        "reference": count(score),
        "tokens": prompts[0].num_tokens,
    }


def load(folder: Path, mesh: DeviceMesh, case: dict[str, Any], trains: bool) -> ShardedPolicy:
    policy = load_policy(
        folder / case["family"],
        dtype=case.get("dtype", "float32"),
        freeze_vision=case.get("frozen", False),
    )
    if not trains:
        policy.requires_grad_(False)
    # as grpo/policies.py does
    keeps = trains and case.get("keeps", False)
    return shard(policy, mesh, reshard_after_forward=not keeps, decodes=trains)


def main(folder: Path) -> None:
    """Measure all cases; the first process writes what it has found."""
    with joined() as world:
        mesh = init_device_mesh("cpu", (world.size,))
        found = {name: measured(folder, mesh, case) for name, case in CASES.items()}
        if world.is_first:
            (folder / "sent.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
