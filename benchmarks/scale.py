"""The cost model's small end: seconds that it predicts beside seconds that steps take, on a CPU.

    python benchmarks/scale.py              writes benchmarks/results/scale_cpu.json
    python benchmarks/scale.py --smoke

What is predicted knows no step: operations by scripts/scale/flops.py, over the speed of products of
the same shapes; numbers that layers read and write one by one, over the speed of a copy; and the
number of operations, which one step is asked for, times what one costs that has nothing to compute.
Steps and measurements of speed take turns, so that a slow minute of the machine meets both.
"""

import statistics
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import ROOT, THREADS, arguments, spread, write_result
from model_sizes import MODELS, small
from our_step import Ours
from scale_rates import Rates, head_matrix, text_matrices, vision_matrices
from step_cases import REWARDS, Case, make_checkpoint, make_turns
from torch.utils._python_dispatch import TorchDispatchMode

from grpo.clock import StepClock
from grpo.step import train_step
from process.tables.text import titled_text
from process.tables.value import Table, columns_of
from scripts.scale.flops import (
    Flops,
    completion_flops,
    decode_flops,
    prompt_flops,
    scored_flops,
    vision_flops,
)
from scripts.scale.sizes import Sizes, sizes_of
from scripts.scale.workload import Workload

PHASES = ("rollout", "reference", "update")
LOGIT_PASSES = 10  # how often the sampler reads or writes (B, V) numbers, as in scripts/scale
ADAMW_BYTES = 40  # of one weight, as in scripts/scale/times.py
WARMUP = 2  # the first step also makes the optimizer's moments
SIZES = MODELS | {"768 x 12": small(768, 12, 2304, 24, 36, 36)}


@dataclass(frozen=True)
class Row:
    """One case of the table."""

    model: str
    N: int
    G: int
    C: int
    image_size: int
    prompt_tokens: int = 0  # 0: the phantoms' own prompts

    @property
    def case(self) -> Case:
        """The same as the other benchmarks have it."""
        dims = SIZES[self.model]
        return Case(
            f"{self.model}, {self.N} x {self.G} x {self.C}",
            prompts=self.N,
            group=self.G,
            new_tokens=self.C,
            image_size=self.image_size,
            prompt_tokens=self.prompt_tokens,
            text=dims["text"],
            vision=dims["vision"],
        )


ROWS = [
    Row("64 x 2", 4, 8, 24, 112),
    Row("embedded", 4, 8, 24, 112),
    Row("embedded", 4, 8, 24, 112, 247),
    Row("embedded", 8, 16, 32, 112),
    Row("256 x 6", 4, 4, 32, 224),
    Row("256 x 6", 4, 16, 64, 224),
    Row("256 x 6", 2, 8, 32, 224, 512),
    Row("768 x 12", 2, 4, 16, 112),
    Row("768 x 12", 2, 8, 32, 224),
]
SMOKE = [Row("64 x 2", 2, 2, 4, 56), Row("embedded", 2, 2, 4, 56)]


class Operations(TorchDispatchMode):
    """Counts operations by the part of a step that they are in."""

    def __init__(self) -> None:
        super().__init__()
        self.part = ""
        self.found: Counter[str] = Counter()

    def begin(self, part: str) -> None:
        """Note which part begins."""
        self.part = part

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found[self.part] += 1
        return func(*args, **(kwargs or {}))


def count_operations(ours: Ours, index: int) -> Counter[str]:
    """Return how many operations each part of a step has."""
    batch = ours.batch(index)
    ours.optimizer.start_step(index)
    with Operations() as operations:
        clock = StepClock(ours.policy.device, operations.begin)
        clock.lap("data")
        given = (ours.policy, ours.reference, ours.optimizer, batch)
        train_step(*given, REWARDS, ours.config, clock)
    return operations.found


def elementwise(sizes: Sizes, tokens: int, patches: int) -> int:
    """Return the numbers that layers read and write outside of products, in one forward.

    Of a token in a layer: two norms (7 D each), two residual sums (3 D each), rotary positions of
    queries and keys (about 10 of each number), the gated MLP (5 F). Of a patch in a block likewise.
    """
    text, vision = sizes.text, sizes.vision
    layer = 20 * text.width + 10 * (text.width + text.kv_width) + 5 * text.mlp
    block = 20 * vision.width + 20 * vision.width + 5 * vision.mlp
    return text.layers * tokens * layer + vision.blocks * patches * block


class Prediction:
    """Seconds of a step's phases on a machine of these rates."""

    def __init__(self, sizes: Sizes, work: Workload, rates: Rates, weights: int) -> None:
        self.sizes, self.work, self.rates, self.weights = sizes, work, rates, weights

    def seconds(self, operations: Counter[str]) -> dict[str, float]:
        """Return them by phase; `operations` are counted in a step."""
        found = {
            "rollout": self._prompts() + self._decode(),
            "reference": self._scored(),
            "update": self._update(),
        }
        return {
            phase: seconds + operations[phase] * self.rates.overhead
            for phase, seconds in found.items()
        }

    def _forward(self, text: Flops, tower: Flops, tokens: int, patches: int) -> float:
        product, sizes = self.rates.product, self.sizes
        seconds = (text.linear + text.attention) / product(text_matrices(sizes), tokens)
        seconds += text.head / product(head_matrix(sizes), max(1, self.work.scored))
        if patches:
            seconds += tower.total / product(vision_matrices(sizes), patches)
        return seconds + 4 * elementwise(sizes, tokens, patches) / self.rates.copy

    def _backward(self, text: Flops, tower: Flops, tokens: int, patches: int) -> float:
        """Return what follows a forward; what it reads and writes one by one is twice as much."""
        sizes = self.sizes

        def product(matrices: Any, rows: int) -> float:
            return self.rates.product(matrices, rows, backward=True)

        head = replace(Flops(), head=text.head).backward()
        seconds = (text.backward() - head) / product(text_matrices(sizes), tokens)
        seconds += head / product(head_matrix(sizes), max(1, self.work.scored))
        seconds += tower.backward() / product(vision_matrices(sizes), patches)
        return seconds + 2 * 4 * elementwise(sizes, tokens, patches) / self.rates.copy

    @property
    def _tower(self) -> Flops:
        return vision_flops(self.sizes.vision, self.work.K).times(self.work.N)

    def _prompts(self) -> float:
        work = self.work
        flops = prompt_flops(self.sizes.text, work)
        return self._forward(flops, self._tower, work.N * work.P, work.N * work.K)

    def _scored(self) -> float:
        work = self.work
        flops = scored_flops(self.sizes.text, work)
        return self._forward(flops, self._tower, work.N * work.P + work.fed, work.N * work.K)

    def _update(self) -> float:
        work, text = self.work, self.sizes.text
        tokens, patches = work.N * work.P + work.fed, work.N * work.K
        adamw = ADAMW_BYTES * self.weights / self.rates.copy
        if not work.shares_prompt_pass:
            backward = self._backward(scored_flops(text, work), self._tower, tokens, patches)
            return self._scored() + backward + adamw
        completions = completion_flops(text, work)
        both = completions + prompt_flops(text, work)
        forward = self._forward(completions, Flops(), work.fed, 0)
        return forward + self._backward(both, self._tower, tokens, patches) + adamw

    def _decode(self) -> float:
        work, text, rates = self.work, self.sizes.text, self.rates
        flops = decode_flops(text, work)
        seconds = (flops.linear + flops.attention) / rates.product(
            text_matrices(self.sizes), work.B
        )
        seconds += flops.head / rates.product(head_matrix(self.sizes), work.B)
        cached = 2 * text.layers * text.kv_width
        steps = work.C - 1
        read = cached * (steps * work.N * work.P + work.B * steps * (steps + 1) // 2)
        logits = LOGIT_PASSES * work.C * work.B * text.vocabulary
        return seconds + 4 * (read + logits) / rates.copy


def measure(row: Row, repeats: int, seconds: float) -> dict[str, Any]:
    """Return predicted and measured seconds of a case's phases."""
    case = row.case
    with TemporaryDirectory() as folder:
        checkpoint = make_checkpoint(case, Path(folder))
        steps = WARMUP + 1 + repeats
        ours = Ours.perturbed(checkpoint, case, make_turns(case, checkpoint, steps))
    for index in range(WARMUP):
        ours.step(index)
    operations = count_operations(ours, WARMUP)
    work = work_of(ours, row)
    sizes = sizes_of(ours.policy.model.config)
    weights = sum(parameter.numel() for parameter in ours.policy.parameters())
    found: dict[str, list[tuple[float, float]]] = {phase: [] for phase in PHASES}
    for index in range(WARMUP + 1, steps):
        _, times = ours.step(index)
        rates = Rates(seconds)
        predicted = Prediction(sizes, work, rates, weights).seconds(operations)
        for phase in PHASES:
            found[phase].append((predicted[phase], times[f"time/{phase}"]))
    return {
        **{"model": row.model, "weights": weights, "N": row.N, "G": row.G, "C": row.C},
        **{"P": work.P, "K": work.K, "copy_bytes_per_second": rates.copy},
        **{"seconds_of_an_operation": rates.overhead, "operations": dict(operations)},
        "phases": {phase: _beside(pairs) for phase, pairs in found.items()},
    }


def _beside(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    return {
        "predicted": spread([predicted for predicted, _ in pairs]),
        "measured": spread([measured for _, measured in pairs]),
        "ratio": round(statistics.median(predicted / seconds for predicted, seconds in pairs), 3),
    }


def work_of(ours: Ours, row: Row) -> Workload:
    """Return what the case's step is, its prompts as they are; all are of about one length."""
    prompts = ours.batch(0).prompts
    return Workload(
        **{"N": row.N, "G": row.G, "C": row.C, "budget": ours.config.micro_batch_tokens},
        P=round(statistics.mean(prompt.num_tokens for prompt in prompts)),
        K=len(prompts[0].pixel_values),
        checkpointing=False,
        varlen=False,
    )


def table(rows: list[dict[str, Any]]) -> Table:
    """Return predicted beside measured seconds."""
    heads = ["model", "N x G x P x C"]
    heads += [f"{phase}, {kind}" for phase in PHASES for kind in ("predicted", "measured", "ratio")]
    lines = []
    for row in rows:
        line = [row["model"], f"{row['N']} x {row['G']} x {row['P']} x {row['C']}"]
        for phase in PHASES:
            found = row["phases"][phase]
            line += [f"{found[kind]['median']:.3f}" for kind in ("predicted", "measured")]
            line.append(f"{found['ratio']:.2f}")
        lines.append(line)
    return Table(columns_of(heads, text=(0, 1)), lines, "Seconds of a step's phases")


def main() -> None:
    """Measure all cases, print the table and write the result file."""
    args = arguments(__doc__, "scale_cpu.json").parse_args()
    torch.set_num_threads(THREADS)
    cases, repeats = (SMOKE, 1) if args.smoke else (ROWS, args.repeats)
    rows = [measure(row, repeats, 0.01 if args.smoke else 0.1) for row in cases]
    print(titled_text(table(rows)))
    command = f"python {Path(__file__).relative_to(ROOT)}" + " --smoke" * args.smoke
    write_result(args.output, command, {"rows": rows})


if __name__ == "__main__":
    main()
