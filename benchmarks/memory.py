"""The estimate of memory against what is allocated, on random models of 100 to 300 million numbers.

    python benchmarks/memory.py --output benchmarks/results/memory_cpu.json
    python benchmarks/memory.py --smoke            the embedded model, seconds

Every setting in a process of its own: a step is taken twice, and every block of the second one is
counted (benchmarks/memory_count.py). Bytes do not depend on what else the machine does. CPU only.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import common
import torch
from memory_count import Counted, count_steps
from our_step import Ours, load_pair
from step_cases import REWARDS, Case, make_checkpoint, make_turns

from grpo.clock import StepClock
from grpo.run.provenance import machine
from grpo.step import train_step
from models.memory import Held, MemoryEstimate, Work, estimate_memory
from process.storage import write_json


def _text(hidden: int, layers: int, width: int, vocabulary: int, *sections: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": width,
        "vocab_size": vocabulary,
        "rope_parameters": {"mrope_section": sections, "rope_theta": 1e4, "rope_type": "default"},
    }


_TOWER = {"embed_dim": 384, "depth": 6, "num_heads": 6}
SMALL = Case(  # 105 million numbers, a third of them the embedding's
    "105 million",
    prompts=2,
    group=4,
    new_tokens=32,
    image_size=224,
    text=_text(512, 12, 2048, 65_536, 16, 24, 24),
    vision=_TOWER,
)
LARGE = replace(  # as published models are shaped: a vocabulary of 151,936, deep and wide
    SMALL, name="237 million", text=_text(768, 12, 3072, 151_936, 24, 36, 36), new_tokens=16
)
SMOKE = Case("embedded", prompts=2, group=2, new_tokens=8, image_size=56)
WHOLE = 1 << 20
SETTINGS: tuple[dict[str, Any], ...] = (
    {"dtype": "float32"},
    {"dtype": "bfloat16"},
    {"dtype": "float32", "checkpointing": True},
    {"dtype": "bfloat16", "checkpointing": True, "budget": 240},
    {"dtype": "bfloat16", "freeze_vision": True},
    {"dtype": "float32", "iterations": 2, "budget": 240},
)
CASES = {case.name: case for case in (SMALL, LARGE, SMOKE)}


class Step:
    """Our step of a case under a setting; what `count_steps` takes."""

    def __init__(self, case: Case, setting: dict[str, Any], folder: Path) -> None:
        self.checkpoint = make_checkpoint(case, folder)
        beta = setting.get("beta", case.beta)
        frozen = setting.get("freeze_vision", False)
        self.policy, reference = load_pair(
            self.checkpoint,
            dtype=setting["dtype"],
            freeze_vision=frozen,
            gradient_checkpointing=setting.get("checkpointing", False),
        )
        reference.share_vision(self.policy)
        self.reference = reference if beta else None
        turns = make_turns(case, self.checkpoint, 2)
        budget = setting.get("budget", WHOLE)
        self._ours = Ours(self.policy, self.reference, case, turns, micro_batch_tokens=budget)
        self._config = replace(
            self._ours.config, beta=beta, num_iterations=setting.get("iterations", 1)
        )
        self.optimizer = self._ours.optimizer

    def __call__(self, index: int, clock: StepClock) -> None:
        batch = self._ours.batch(index)
        clock.lap("data")
        self.optimizer.start_step(index)
        train_step(self.policy, self.reference, self.optimizer, batch, REWARDS, self._config, clock)
        clock.metrics()

    def estimate(self) -> MemoryEstimate:
        """Return what is estimated for it."""
        config, prompts = self._config, self._ours.batch(1).prompts
        held = Held(
            dtype=self.policy.dtype,
            checkpointing=self.policy.gradient_checkpointing,
            freeze_vision=self.policy.vision_frozen,
            reference="device" if self.reference is not None else "none",
        )
        work = Work(
            prompts=config.prompts_per_step,
            group_size=config.group_size,
            prompt_tokens=max(prompt.num_tokens for prompt in prompts),
            completion_tokens=config.max_completion_tokens,
            patches=max(len(prompt.pixel_values) for prompt in prompts),
            budget=config.micro_batch_tokens,
            iterations=config.num_iterations,
        )
        return estimate_memory(self.checkpoint, held, work)


def count_one(name: str, setting: dict[str, Any]) -> dict[str, Any]:
    """Return a row: bytes counted and estimated, by part and in all."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        step = Step(CASES[name], setting, Path(folder))
        counted, estimate = count_steps(step), step.estimate()
        numbers = sum(weight.numel() for weight in step.policy.parameters())
    return {"model": name, "parameters": numbers, **setting, **compared(counted, estimate)}


def compared(counted: Counted, estimate: MemoryEstimate) -> dict[str, Any]:
    """Return what was counted and estimated, and the estimate's error where a part is large."""
    parts = {
        part: {"counted": counted.parts.get(part, 0), "estimated": estimate.of(part)}
        for part in sorted(counted.parts.keys() | estimate.parts.keys())
    }
    large = [p for p, row in parts.items() if max(row.values()) > 0.005 * counted.total]
    errors = {p: round(parts[p]["estimated"] / max(1, parts[p]["counted"]) - 1, 4) for p in large}
    return {
        "counted_bytes": counted.total,
        "estimated_bytes": estimate.total,
        "error": round(estimate.total / counted.total - 1, 4),
        "largest_error_of_a_part": max(errors.items(), key=lambda item: abs(item[1])),
        "moments": {"counted": counted.moment, "estimated": estimate.peak},
        "parts": parts,
    }


def rows(smoke: bool) -> Iterator[dict[str, Any]]:
    """Yield a row per model and setting, each from a process of its own."""
    tried = {SMALL.name: SETTINGS, LARGE.name: SETTINGS[1:2]}
    for name, settings in ({SMOKE.name: SETTINGS[:2]} if smoke else tried).items():
        for setting in settings:
            command = [sys.executable, __file__, "--one", json.dumps([name, setting])]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            yield json.loads(done.stdout.splitlines()[-1])


def main(argv: Sequence[str] | None = None) -> int:
    """Count, print a line per row, and write the result where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="the embedded model, two settings")
    parser.add_argument("--output", type=Path, help="file for the result")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.one is not None:
        print(json.dumps(count_one(*json.loads(given.one))))
        return 0
    found = []
    for row in rows(given.smoke):
        found.append(row)
        part, error = row["largest_error_of_a_part"]
        setting = {name: row[name] for name in ("dtype", "checkpointing", "budget") if name in row}
        print(
            f"{row['model']} {setting}: {row['counted_bytes'] / 1e9:.3f} GB counted, estimate"
            f" {row['error']:+.1%}, of the parts most {part} {error:+.1%}",
            flush=True,
        )
        if given.output is not None:
            conditions = {"cpu": common.cpu(), **machine()}
            cases = [asdict(case) for case in (SMALL, LARGE)]
            write_json(given.output, {"conditions": conditions, "cases": cases, "rows": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
