"""How time and memory of a step grow with prompts, group size, completions, images and model.

    python benchmarks/growth.py                   writes benchmarks/results/growth_cpu.json
    python benchmarks/growth.py --device cuda     writes benchmarks/results/growth_<gpu>.json

One factor grows at a time, the others stay at a base case. Every size has a process of its own: two
steps to warm up, then the median of the timed ones; memory is the peak beyond policy and reference
as they were loaded. Completions have their full length (special tokens are never sampled), and the
whole batch is one forward.

The maths of time is FLOPs (flop_count.step_flops) at the speed of a large matrix product, and the
bytes that decoding has to read (gpu_bounds.decode_bytes) at that of a large copy, both measured
here first; that of memory is models.memory.estimate_memory. Per factor an exponent is
fitted to the largest sizes of both sides; the run fails where the measured one is higher by more
than the tolerance.

On CUDA the 2B model takes whole steps; the 7B's have no optimizer and a frozen vision tower and
frozen embeddings: rollout, reference pass, forward and backward.
"""

import json
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import (
    ROOT,
    THREADS,
    PeakMemory,
    arguments,
    device_slug,
    in_a_process,
    interleaved,
    write_checkpoint,
    write_result,
)
from flop_count import step_flops
from gpu_bounds import decode_bytes
from growth_cases import FACTORS, Factor, Size
from growth_fit import growth
from model_sizes import MODELS
from our_step import WHOLE_BATCH, Ours, load_pair
from step_cases import Case, make_turns

from grpo.clock import StepClock
from grpo.likelihood import completion_logprobs, frozen_logprobs
from grpo.rollout import sample_rollout
from models.memory import Held, Work, estimate_memory
from models.policy import Policy
from process.allocator import keep_freed_memory

LARGEST_IMAGE = 672  # pixels a side; smaller ones are left as they are too
WARMUP = 2  # the first step also makes the optimizer's moments
# On the exponents. Time: a median that is 5 % off at one end of a factor of 4 moves the slope by
# 0.04; parts of a step run at other rates than a large product (completions of 64 to 256 tokens,
# one thread's own seconds: 1.12 where FLOPs alone say 0.97). Memory differs little between runs.
TOLERANCE = {"time": 0.15, "memory": 0.1}
COLUMNS = {"time": ("seconds", "ideal_seconds"), "memory": ("peak_mebibytes", "estimate_mebibytes")}


class WithoutOptimizer(Ours):
    """The parts of a step that need no optimizer state; embeddings and vision tower are frozen."""

    def __init__(self, policy: Policy, reference: Policy, *given: Any) -> None:
        policy.text.embed_tokens.requires_grad_(False)
        policy.output_weight.requires_grad_(False)
        reference.share_vision(policy)
        # an optimizer would keep float32 masters and gradients
        super().__init__(policy, reference, *given, optimized=False)

    def step(self, index: int) -> tuple[None, dict[str, float]]:
        """Return nothing and the seconds by part; the loss is the log-probs' mean."""
        clock = StepClock(self.policy.device)
        batch = self.batch(index)
        clock.lap("data")
        rollout = sample_rollout(self.policy, batch, self.config.sampling)
        clock.lap("rollout")
        frozen_logprobs(self.reference, rollout, self.config)
        clock.lap("reference")
        self.policy.zero_grad()
        for part in rollout.parts(WHOLE_BATCH):
            completion_logprobs(self.policy, part, 1.0).mean().backward()
        clock.lap("update")
        return None, clock.metrics()


def measure(size: Size, checkpoint: Path, device: torch.device, repeats: int) -> dict[str, Any]:
    """Return the row of one size: what was measured and what the maths says."""
    case = Case("", size.N, size.G, size.C, size.image_size)
    parts, on_cuda = size.work == "parts", device.type == "cuda"
    pair = load_pair(
        checkpoint,
        device=device,
        freeze_vision=parts,
        gradient_checkpointing=on_cuda,  # as train.py does
    )
    turns = make_turns(case, checkpoint, steps=WARMUP + repeats)
    peak = PeakMemory(device)
    ours = (WithoutOptimizer if parts else Ours)(*pair, case, turns)
    times = [ours.step(index)[1] for index in range(WARMUP + repeats)][WARMUP:]
    row = asdict(size) | {"peak_mebibytes": round(peak.mebibytes(), 1)}
    row |= {name.removeprefix("time/"): round(statistics.median(t[name] for t in times), 4)
            for name in times[0]}  # fmt: skip
    row["seconds"] = row.pop("step")
    row["all_seconds"] = [round(t["time/step"], 4) for t in times]
    return row | maths(size, ours, checkpoint)


def maths(size: Size, ours: Ours, checkpoint: Path) -> dict[str, Any]:
    """Return FLOPs and bytes of one step by the textbook, and the sizes they follow from."""
    policy, prompts = ours.policy, ours.batch(0).prompts
    tokens = sum(prompt.num_tokens for prompt in prompts)
    patches = len(prompts[0].pixel_values)
    sizes = {"N": size.N, "G": size.G, "C": size.C, "P": round(tokens / size.N), "K": patches}
    parts = size.work == "parts"
    held = Held(
        dtype=policy.dtype,
        checkpointing=policy.gradient_checkpointing,
        freeze_vision=parts,
        on_cuda=policy.device.type == "cuda",
    )
    work = Work(size.N, size.G, sizes["P"], size.C, patches, budget=1 << 30)
    estimate = estimate_memory(checkpoint, held, work)
    named = ("activations", "gradients", "master", "moments")
    needed = sum(estimate.of(part) for part in named)
    if parts:  # gradients in the weights' own dtype
        trained = sum(weight.nbytes for weight in policy.parameters() if weight.requires_grad)
        needed = estimate.of("activations") + trained
    return {
        "prompt_tokens": sizes["P"],
        "image_tokens": patches // 4,
        "parameters": sum(weight.numel() for weight in policy.text.layers.parameters()),
        "flops": step_flops(policy.model.config, **sizes, frozen=parts),
        "decode_bytes": decode_bytes(
            policy.text.config.to_dict(),
            prompt_tokens=tokens,
            rows=size.N * size.G,
            C=size.C,
            element_bytes=policy.dtype.itemsize,
        ),
        "estimate_mebibytes": round(needed / 2**20, 1),
    }


def speeds(device: torch.device, smoke: bool) -> dict[str, float]:
    """Return FLOPs and bytes a second of a large matrix product and a large copy."""
    on_cuda = device.type == "cuda"
    side, numbers = (8192, 2**29) if on_cuda else (128, 2**16) if smoke else (2048, 2**26)
    kind = {"device": device, "dtype": torch.bfloat16 if on_cuda else torch.float32}
    square, source = torch.randn(side, side, **kind), torch.zeros(numbers, **kind)
    product, target = torch.empty_like(square), torch.empty_like(source)
    runs = {
        "product": lambda: torch.mm(square, square, out=product),
        "copy": lambda: target.copy_(source),
    }
    seconds = interleaved(runs, repeats=7, device=device, digits=9)
    return {
        "flops_per_second": 2 * side**3 / seconds["product"]["median"],
        "bytes_per_second": 2 * source.nbytes / seconds["copy"]["median"],
    }


def run_factor(factor: Factor, folder: Path, given: Any, speed: dict[str, float]) -> dict[str, Any]:
    """Return the rows of one factor with their exponents, and print both."""
    print(f"\n{factor.name}")
    print(f"{'':>14}{'seconds':>10}{'ideal':>10}{'GFLOP':>10}{'MiB':>10}{'estimate':>10}")
    rows = []
    for size in factor.sizes:
        row = run_size(size, folder, given)
        row["ideal_seconds"] = (
            row["flops"] / speed["flops_per_second"]
            + row["decode_bytes"] / speed["bytes_per_second"]
        )
        rows.append(row)
        print(
            f"{row[factor.key]:>14,}{row['seconds']:>10.3f}{row['ideal_seconds']:>10.3f}"
            f"{row['flops'] / 1e9:>10.1f}{row['peak_mebibytes']:>10.1f}"
            f"{row['estimate_mebibytes']:>10.1f}",
            flush=True,
        )
    found = {}
    for name, columns in COLUMNS.items():
        if given.smoke and min(row[columns[0]] for row in rows) <= 0:
            continue  # all in one process, a small size may need no memory of its own
        found[name] = growth(rows, factor.key, *columns, TOLERANCE[name])
        said = (
            "GROWS FASTER THAN THE MATHS SAYS" if found[name]["too_fast"] else "as the maths says"
        )
        print(f"    {name}: exponent {found[name]['measured']:.2f}, predicted"
              f" {found[name]['predicted']:.2f}: {said}")  # fmt: skip
    return {"factor": factor.name, "key": factor.key, "exponents": found, "rows": rows}


def run_size(size: Size, folder: Path, given: Any) -> dict[str, Any]:
    """Return the row of one size, measured in a process of its own unless this is a smoke run."""
    checkpoint = folder / size.model.replace(" ", "_")
    on_cuda = given.device == "cuda"
    if not checkpoint.exists():
        kind = {"dtype": torch.bfloat16, "device": "cuda"} if on_cuda else {}
        write_checkpoint(checkpoint, image_size=LARGEST_IMAGE, **MODELS[size.model], **kind)
        if on_cuda:
            torch.cuda.empty_cache()  # the weights must not stand in the next process's way
    if given.smoke:
        return measure(size, checkpoint, torch.device(given.device), given.repeats)
    return in_a_process(
        __file__, "--device", given.device, "--repeats", str(given.repeats),
        "--checkpoint", str(checkpoint), "--size-json", json.dumps(asdict(size)),
    )  # fmt: skip


def main() -> None:
    parser = arguments(__doc__, "growth_cpu.json")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--factor", help="only those whose name begins with this")
    for internal in ("--checkpoint", "--size-json"):
        parser.add_argument(internal, help="for the processes that measure one size")
    parser.set_defaults(repeats=5, output=None)
    given = parser.parse_args()
    if given.smoke:
        given.repeats = 1
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device here: run it without --device cuda")
    device = torch.device(given.device)
    if device.type == "cpu" and not given.smoke:
        torch.set_num_threads(THREADS)
    if given.size_json:
        if device.type == "cpu":
            keep_freed_memory()  # as train.py does
        size = Size(**json.loads(given.size_json))
        print(json.dumps(measure(size, Path(given.checkpoint), device, given.repeats)))
        return
    factors = [factor for factor in FACTORS["smoke" if given.smoke else given.device]
               if factor.name.startswith(given.factor or "")]  # fmt: skip
    speed = speeds(device, given.smoke)
    with TemporaryDirectory() as folder:
        found = [run_factor(factor, Path(folder), given, speed) for factor in factors]
    too_fast = [f"{item['factor']}: {name} {e['measured']}, the maths says {e['predicted']}"
                for item in found for name, e in item["exponents"].items()
                if e["too_fast"]]  # fmt: skip
    output = given.output or ROOT / "benchmarks" / "results" / f"growth_{device_slug(device)}.json"
    content = {"dtype": "bfloat16" if device.type == "cuda" else "float32"}
    content |= {"repeats": given.repeats, "speed": speed, "factors": found, "too_fast": too_fast}
    if not given.smoke:
        write_result(output, f"python benchmarks/growth.py --device {device.type}", content)
    for text in too_fast:
        print(f"GROWS FASTER THAN THE MATHS SAYS {text}")
    sys.exit(bool(too_fast) and not given.smoke)


if __name__ == "__main__":
    main()
