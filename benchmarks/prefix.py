"""A prompt shared by its G completions against G copies of it: forward and backward of the text.

    python benchmarks/prefix.py                   writes benchmarks/results/prefix_cpu.json

Hidden size 256, 6 layers, float32, random weights, text-only prompts: vision tower and output head
are left out, so what is measured is the text body. Three ways to the same hidden states:

    shared        N groups of one prompt and G completions
    copies        N * G groups of one prompt and one completion, through the same code
    transformers  its own forward on N * G rows of prompt and completion

For each shape the gradients of all three agree to 3e-5 per parameter before any time is taken. The
ideal is the ratio of tokens, G (P + C) / (P + G C).
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import (
    ROOT,
    THREADS,
    arguments,
    gradients,
    interleaved,
    write_checkpoint,
    write_result,
)
from flop_count import text_flops
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from models import load_policy
from models.policy import Policy
from models.prompts.prompt import EncodedPrompt

PROMPT_TOKENS, GROUPS, COMPLETION_TOKENS = (64, 256, 1024), (4, 8, 16), (32, 256)
LEAST_TOKENS = 2048  # per measurement, of the shared side
GRADIENT_BAR = 3e-5  # relative L2 per parameter
SHARE_OF_IDEAL = 0.8  # wherever the ideal is at least ..
WORTHWHILE = 1.5
TEXT = {
    "hidden_size": 256,
    "num_hidden_layers": 6,
    "intermediate_size": 768,
    "rope_parameters": {"mrope_section": [8, 12, 12], "rope_theta": 1e4, "rope_type": "default"},
}


@dataclass(frozen=True)
class Shape:
    """N groups of G completions of C tokens after prompts of P tokens."""

    P: int
    G: int
    C: int

    @property
    def N(self) -> int:
        """As many groups as it takes to have LEAST_TOKENS, each prompt counted once."""
        return -(-LEAST_TOKENS // (self.P + self.G * self.C))

    @property
    def ideal(self) -> float:
        """How many times fewer tokens there are with a shared prompt."""
        return self.G * (self.P + self.C) / (self.P + self.G * self.C)

    @property
    def bar(self) -> float:
        """The least ratio that will do."""
        return SHARE_OF_IDEAL * self.ideal if self.ideal >= WORTHWHILE else 1.0


class Contest:
    """The three ways for one shape, on the same random tokens."""

    def __init__(self, policy: Policy, plain: nn.Module, shape: Shape) -> None:
        self.policy, self.plain, self.shape = policy, plain, shape
        N, G, P, C = shape.N, shape.G, shape.P, shape.C
        generator = torch.Generator().manual_seed(P + G + C)
        # below the special tokens, so that nothing looks like an image
        self.prompt_ids = torch.randint(0, 600, (N, P), generator=generator)
        self.completion_ids = torch.randint(0, 600, (N * G, C), generator=generator)
        self.weights = torch.randn(N * G, C, TEXT["hidden_size"], generator=generator)
        self.prompts = [_text_prompt(ids) for ids in self.prompt_ids]

    def shared(self) -> None:
        self._backward(self._hidden(self.prompts, [self.shape.G] * self.shape.N))

    def copies(self) -> None:
        rows = [prompt for prompt in self.prompts for _ in range(self.shape.G)]
        self._backward(self._hidden(rows, [1] * len(rows)))

    def transformers(self) -> None:
        ids = torch.cat(
            [self.prompt_ids.repeat_interleave(self.shape.G, 0), self.completion_ids], 1
        )
        self.plain.zero_grad()
        output = self.plain(input_ids=ids[:, :-1], use_cache=False)  # the last predicts nothing
        self._backward(output.last_hidden_state[:, self.shape.P - 1 :])

    def _hidden(self, prompts: list[EncodedPrompt], rows: list[int]) -> Tensor:
        self.policy.zero_grad()
        nothing_seen = [torch.zeros(0, TEXT["hidden_size"])] * len(prompts)
        lengths = [self.shape.C] * len(self.completion_ids)
        hidden = self.policy.scored_hidden(
            prompts, rows, self.completion_ids, lengths, image_features=nothing_seen
        )
        return hidden.unflatten(0, self.completion_ids.shape)

    def _backward(self, hidden: Tensor) -> None:  # (N * G, C, D)
        (hidden * self.weights).sum().backward()

    def worst_gradient_difference(self) -> float:
        """Return the largest relative L2 difference of a parameter's gradient to `shared`'s."""
        found = {}
        ways: dict[str, tuple[Callable[[], None], nn.Module]] = {
            "shared": (self.shared, self.policy.text),
            "copies": (self.copies, self.policy.text),
            "transformers": (self.transformers, self.plain),
        }
        for name, (run, module) in ways.items():
            run()
            found[name] = gradients(module)
        shared = found.pop("shared")
        return max(
            ((shared[name] - other[name]).norm() / other[name].norm()).item()
            for other in found.values()
            for name in shared
        )


def _text_prompt(ids: Tensor) -> EncodedPrompt:
    positions = torch.arange(len(ids)).expand(3, -1)
    no_patches = torch.zeros(0, 3 * 2 * 14 * 14), torch.zeros(0, 3, dtype=torch.int64)
    return EncodedPrompt(ids, positions, *no_patches)


def measure(policy: Policy, plain: nn.Module, shape: Shape, repeats: int) -> dict[str, Any]:
    """Return one row of the table."""
    contest = Contest(policy, plain, shape)
    difference = contest.worst_gradient_difference()
    row = {name: getattr(shape, name) for name in "NPGC"} | {"gradient_difference": difference}
    if difference > GRADIENT_BAR:
        return row | {"missed": f"gradients differ by {difference:.1e}"}
    runs = {name: getattr(contest, name) for name in ("shared", "copies", "transformers")}
    seconds = interleaved(runs, repeats, warmup=0)  # the comparison has run each of them once
    ratio = {n: round(seconds[n]["median"] / seconds["shared"]["median"], 2)
             for n in ("copies", "transformers")}  # fmt: skip
    sizes = {name: getattr(shape, name) for name in "NGPC"}
    flops = {s: text_flops(policy.text.config, shared=s, **sizes) for s in (True, False)}
    row |= {"ideal": round(shape.ideal, 2), "flop_ideal": round(flops[False] / flops[True], 2)}
    row |= {"ratio": ratio["copies"], "ratio_to_transformers": ratio["transformers"]}
    row |= {"gflops_per_second": round(3 * flops[True] / seconds["shared"]["median"] / 1e9, 1)}
    missed = f"{row['ratio']}, wanted {shape.bar:.2f}" if row["ratio"] < shape.bar else ""
    return row | {"seconds": seconds, "missed": missed}


def main() -> None:
    parser = arguments(__doc__, "prefix_cpu.json")
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    shapes = [Shape(*sizes) for sizes in product(PROMPT_TOKENS, GROUPS, COMPLETION_TOKENS)]
    if given.smoke:
        shapes = [Shape(64, 4, 32)]
    with TemporaryDirectory() as folder:
        directory = write_checkpoint(Path(folder) / "checkpoint", image_size=84, text=TEXT)
        policy = load_policy(directory)
        model = AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32)
    plain = model.model.language_model.train()
    rows = []
    print("   N     P   G    C   copies  transformers  ideal (FLOPs)   shared s  gradients")
    for shape in shapes:
        row = measure(policy, plain, shape, 2 if given.smoke else given.repeats)
        rows.append(row)
        print(f"{row['N']:>4}{row['P']:>6}{row['G']:>4}{row['C']:>5}", end="")
        if "seconds" in row:
            print(f"{row['ratio']:>9.2f}{row['ratio_to_transformers']:>14.2f}{row['ideal']:>7.2f}"
                  f" ({row['flop_ideal']:.2f}){row['seconds']['shared']['median']:>12.4f}",
                  end="")  # fmt: skip
        missed = f"  MISSED: {row['missed']}" if row["missed"] else ""
        print(f"  {row['gradient_difference']:.1e}{missed}", flush=True)
    command = f"python {Path(__file__).relative_to(ROOT)}"
    write_result(given.output, command, {"text_config": TEXT, "rows": rows})
    sys.exit(any(row["missed"] for row in rows) and not given.smoke)


if __name__ == "__main__":
    main()
