"""What a checkpoint's manifest costs: saves with it, without it, and by safetensors' own writer.

    python benchmarks/manifest.py                 writes benchmarks/results/manifest_cpu.json

A random policy of some hundred megabytes with AdamW's moments, saved as a run saves it, to the disk
and renamed. Every round saves once each way, in an order that turns; what counts is the median of
the rounds' ratios. The manifest of the last save must find nothing wrong before a time is taken.
"""

import gc
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import torch
from common import arguments, seconds_of, spread, write_checkpoint, write_result
from safetensors.torch import save_file
from torch import Tensor

import grpo.run.checkpoint as checkpoint
from grpo.optimizer import PolicyOptimizer
from grpo.run.checkpoint import save_checkpoint
from grpo.run.start_point import faults
from grpo.settings.config import GRPOConfig
from models import load_policy
from models.checkpoint.manifest import FileFacts
from models.checkpoint.sealing import Seal
from models.checkpoint.tensor_file import pieces

MOST = 1.05  # a save with its manifest, over one without
DIMS = {
    "hidden_size": 1024,
    "num_hidden_layers": 4,
    "intermediate_size": 2816,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [32, 48, 48]},
}
CARD = {"mode": "think", "image_size": 56}
NONE: Mapping[str, FileFacts] = MappingProxyType({})  # no other process


class Unhashed(Seal):
    """Writes and flushes as a Seal does; hashes nothing, lists nothing."""

    def hash_ahead(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        pass

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        with (self._folder / name).open("wb") as stream:
            for piece, _ in pieces(tensors):
                stream.write(piece)
        self._flush(self._folder / name)

    def finish(self, step: int, others: Mapping[str, FileFacts] = NONE) -> None:  # noqa: ARG002
        self.take()
        for flushed in self._flushed:
            flushed.result()

    def _checksum(self, file: Path) -> str:  # noqa: ARG002
        return ""


class Plain(Seal):
    """safetensors' own writer, one file after the other, nothing beside it."""

    def take(self) -> None:
        pass

    def hash_ahead(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        pass

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        save_file(dict(tensors), self._folder / name)

    def finish(self, step: int, others: Mapping[str, FileFacts] = NONE) -> None:
        pass


WAYS = {"with": Seal, "without": Unhashed, "plain": Plain}


def main() -> None:
    """Measure, print and write."""
    parser = arguments(__doc__, "manifest_cpu.json")
    parser.add_argument("--folder", type=Path, help="on the disk to measure, default: as tempfile")
    args = parser.parse_args()
    text = DIMS if not args.smoke else DIMS | {"num_hidden_layers": 1, "intermediate_size": 64}
    rounds = 2 if args.smoke else args.repeats
    with TemporaryDirectory(dir=args.folder) as folder:
        policy = load_policy(write_checkpoint(Path(folder) / "model", image_size=56, text=text))
        optimizer = PolicyOptimizer(policy, GRPOConfig(), total_steps=10)
        for master in optimizer.masters.values():
            moments = {name: torch.rand_like(master) for name in ("exp_avg", "exp_avg_sq")}
            optimizer.adamw.state[master] = {"step": torch.tensor(3.0), **moments}

        def save(way: str) -> None:
            checkpoint.Seal = WAYS[way]  # type: ignore[misc]  # the class is a name there
            run = Path(folder) / way
            save_checkpoint(run, 1, policy, optimizer, state={}, card=CARD, keep=1)

        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(rounds + 1):  # the first warms up
            names = [*WAYS]
            for way in names[number % 3 :] + names[: number % 3]:
                gc.collect()
                seconds = seconds_of(lambda way=way: save(way))
                if number:
                    times[way].append(seconds)
        place = Path(folder) / "with" / "checkpoints" / "step-000001"
        if wrong := faults(place):
            sys.exit(f"the manifest is not right, no time counts: {wrong}")
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    ratios = {
        way: [t / other for t, other in zip(times["with"], times[way], strict=True)]
        for way in ("without", "plain")
    }
    seconds = {way: spread(found) for way, found in times.items()}
    spreads = {f"with / {way}": spread(found) for way, found in ratios.items()}
    content = {"megabytes": round(size / 1e6, 1), "seconds": seconds, "ratio": spreads}
    for name, found in (seconds | spreads).items():
        print(f"{name}: {found}")
    ratio = statistics.median(ratios["without"])
    print(f"{size / 1e6:,.0f} MB; with / without {ratio:.3f}, wanted at most {MOST}")
    if not args.smoke:
        write_result(args.output, "python benchmarks/manifest.py", content)
        sys.exit(ratio > MOST)


if __name__ == "__main__":
    main()
