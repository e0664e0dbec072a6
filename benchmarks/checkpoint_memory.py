"""How much of the host's memory a save takes when weights and moments lie on another device.

    python benchmarks/checkpoint_memory.py     writes benchmarks/results/checkpoint_memory_cpu.json

There is no other device here: every tensor is copied as one of a GPU would be, into memory of its
own, and the process's peak (VmHWM of Linux) is read before and after. Each way in a process of its
own: a slice at a time as runs save, a whole tensor at a time as they did before, and safetensors'
own writer, which takes all tensors of a file to the host before it writes the first.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import arguments, write_checkpoint, write_result
from safetensors.torch import save_file
from torch import Tensor

import grpo.run.checkpoint as checkpoint
from grpo.optimizer import PolicyOptimizer
from grpo.run.start_point import faults
from grpo.settings.config import GRPOConfig
from models import load_policy
from models.checkpoint import tensor_file
from models.checkpoint.sealing import Seal

WAYS = ("a slice at a time", "a tensor at a time", "safetensors' own writer")
DIMS = {
    "hidden_size": 1024,
    "num_hidden_layers": 4,
    "intermediate_size": 2816,
    "vocab_size": 32_000,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [32, 48, 48]},
}


class Copying(Seal):
    """Hashes nothing ahead: of a GPU's tensors it cannot be."""

    def hash_ahead(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        pass


class AllAtOnce(Copying):
    """Takes all tensors of a file to the host, then lets safetensors write it."""

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        save_file({key: tensor.clone() for key, tensor in tensors.items()}, self._folder / name)


def save_all_at_once(
    file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write weights as `AllAtOnce` does the optimizer's state."""
    copies = {key: tensor.clone() for key, tensor in tensors.items()}
    save_file(copies, file, None if metadata is None else dict(metadata))


def grown(way: str, model: Path, run: Path) -> dict[str, float]:
    """Save once; return by how many megabytes the process's peak has grown, and what was saved."""
    policy = load_policy(model)
    optimizer = PolicyOptimizer(policy, GRPOConfig(), total_steps=10)
    for master in optimizer.masters.values():
        moments = {name: torch.rand_like(master) for name in ("exp_avg", "exp_avg_sq")}
        optimizer.adamw.state[master] = {"step": torch.tensor(3.0), **moments}
    tensor_file.on_host = lambda values: values.clone()
    checkpoint.Seal = Copying  # type: ignore[misc]  # the class is a name there
    if way == "a tensor at a time":
        tensor_file.SLICE = tensor_file.PART
    if way == "safetensors' own writer":
        checkpoint.Seal = AllAtOnce  # type: ignore[misc]
        sys.modules["models.checkpoint.saving"].write_tensor_file = save_all_at_once  # type: ignore
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _peak()
    place = checkpoint.save_checkpoint(
        run, 1, policy, optimizer, state={}, card={"mode": "think"}, keep=1
    )
    after = _peak()
    if wrong := faults(place):
        sys.exit(f"what was saved is not right, no memory counts: {wrong}")
    largest = max(tensor.nbytes for tensor in policy.parameters())
    size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return {
        "grown": round(after - before, 1),
        "saved": round(size / 1e6, 1),
        "largest tensor": round(largest / 1e6, 1),
    }


def _peak() -> float:
    """Return the most memory that this process had so far, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def main() -> None:
    """Measure each way in a process of its own, print and write."""
    parser = arguments(__doc__, "checkpoint_memory_cpu.json")
    parser.add_argument("--way", choices=WAYS, help="do one of them here, and print what it took")
    parser.add_argument("--folder", type=Path, help="with --way: the model's and the run's place")
    args = parser.parse_args()
    if args.way:
        run = args.folder / args.way.split()[0]
        print(json.dumps(grown(args.way, args.folder / "model", run)))
        return
    small = {"num_hidden_layers": 1, "intermediate_size": 64, "vocab_size": 2000}
    found = {}
    with TemporaryDirectory() as folder:
        text = DIMS | (small if args.smoke else {})
        write_checkpoint(Path(folder) / "model", image_size=56, text=text)
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--folder", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[way] = json.loads(done.stdout.splitlines()[-1])
            print(f"{way}: {found[way]['grown']} MB for {found[way]['saved']} MB saved")
    content = {"megabytes": found, "slice": round(tensor_file.SLICE / 1e6, 1)}
    if not args.smoke:
        write_result(args.output, "python benchmarks/checkpoint_memory.py", content)


if __name__ == "__main__":
    main()
