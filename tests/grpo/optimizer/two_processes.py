"""What two processes do with an optimizer in CPU memory, and with 8-bit moments of shards.

torchrun --standalone --nproc-per-node 2 -m tests.grpo.optimizer.two_processes FOLDER CASE ..
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

COMMON = {
    "method": "sft",  # every step has a gradient
    "model": "tiny",
    "train_json": ["phantoms:CT"],
    "image_size": 56,
    "max_steps": 2,
    "prompts_per_step": 2,
    "learning_rate": 4e-4,
    "save_every": 0,
    "dtype": "bfloat16",
    "seed": 3,
}
CASES = {
    "on the device": {},
    "offloaded": {"offload_optimizer": True},
    "8 bit": {"optimizer": "adamw_8bit"},
}
SHAPES = [(10, 512), (33, 256), (1, 4096), (9, 3), (5,)]  # the last rank of two may have no row


def move_shards() -> None:
    """Three updates of sharded weights give the bits of whole ones; so do codes and scales."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    from grpo.moments.adamw_8bit import AdamW8bit

    mesh = init_device_mesh("cpu", (2,))

    def sharded(tensor: Tensor) -> Tensor:
        return distribute_tensor(tensor, mesh, [Shard(0)])

    generator = torch.Generator().manual_seed(0)
    drawn = [[torch.randn(shape, generator=generator) for shape in SHAPES] for _ in range(4)]
    whole = [nn.Parameter(tensor.clone()) for tensor in drawn[0]]
    parts = [nn.Parameter(sharded(tensor)) for tensor in drawn[0]]
    numbers = {"lr": 1e-2, "betas": (0.9, 0.999), "eps": 1e-8}
    optimizers = [
        AdamW8bit([{"params": one, "weight_decay": 0.1}], **numbers) for one in (whole, parts)
    ]
    for gradients in drawn[1:]:
        for weight, part, gradient in zip(whole, parts, gradients, strict=True):
            weight.grad, part.grad = gradient, sharded(gradient)
        for optimizer in optimizers:
            optimizer.step()
    for weight, part in zip(whole, parts, strict=True):
        assert torch.equal(part.full_tensor(), weight), weight.shape
        states = [o.state[w] for o, w in zip(optimizers, (weight, part), strict=True)]
        for key, value in states[0].items():
            found = states[1][key]
            found = found.full_tensor() if hasattr(found, "full_tensor") else found
            assert torch.equal(found, value), (weight.shape, key)


def main(folder: Path, names: list[str]) -> None:
    """Train the named cases, each below the folder."""
    import train
    from grpo.settings import resolve_config

    if "8 bit" in names:
        move_shards()
    for name in names:
        settings = {**COMMON, **CASES[name], "output_dir": str(folder / name)}
        train.run(resolve_config(settings))


if __name__ == "__main__":
    from process.ranks import joined

    with joined():
        main(Path(sys.argv[1]), sys.argv[2:])
