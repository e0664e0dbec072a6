"""Attention of packed groups on a GPU, forward and backward of one layer, in three ways.

    python benchmarks/attention.py                writes benchmarks/results/attention_<gpu>.json

    copies   prompts and completions padded, prompts copied for their rows, SDPA under a dense mask
    merged   the packed tokens as they lie, three varlen flash calls (models/shared/varlen.py)
    flex     the packed tokens as they lie, FlexAttention compiled once for all lengths

bfloat16, the shapes of Qwen2-VL 2B and 7B, prompts and completions of different lengths. Before any
time is taken each way must give what `copies` gives in float32 on the same inputs, gradients
included, to bfloat16's noise. FlexAttention's block mask is made once per forward of a model, so it
is timed apart. The way that is fastest is printed: where it is not `merged`, think again.

`--smoke` runs tiny shapes wherever it is; on a CPU in float32, with models/shared/merged.py as
`merged` and FlexAttention's mask compared, not timed.
"""

import re
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from common import ROOT, THREADS, arguments, interleaved, write_result
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from models.shared.attention import GroupReader
from models.shared.flash import flash_for
from models.shared.groups import PackedGroups
from models.shared.merged import MergingReader
from models.shared.padded import CopyingReader
from models.shared.varlen import VarlenReader

BARS = {torch.bfloat16: 2e-2, torch.float32: 1e-5}  # relative L2 of the read and each gradient
Row = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """N prompts of up to P tokens, G completions each of up to C, H / Hkv heads of size d."""

    N: int
    G: int
    P: int
    C: int
    H: int
    Hkv: int
    d: int


SHAPES = [
    Shape(N, G, P, C, H, Hkv, 128)
    for H, Hkv in ((12, 2), (28, 4))  # Qwen2-VL 2B and 7B
    for N, G, P, C in ((4, 8, 275, 256), (8, 16, 275, 256), (4, 8, 1024, 256), (2, 8, 1024, 1024))
]
TINY = Shape(N=2, G=3, P=64, C=8, H=4, Hkv=2, d=16)


class Contest:
    """The ways for one shape, on the same random inputs."""

    def __init__(self, shape: Shape, device: torch.device, dtype: torch.dtype) -> None:
        self.shape, self.device = shape, device
        generator = torch.Generator().manual_seed(0)

        def lengths(count: int, least: int, most: int) -> list[int]:
            drawn = torch.randint(least, most + 1, (count,), generator=generator)
            drawn[0] = most
            return drawn.tolist()

        self.prompts = lengths(shape.N, shape.P * 3 // 4, shape.P)
        self.completions = lengths(shape.N * shape.G, shape.C // 4, shape.C)
        self.tokens = sum(self.prompts) + sum(self.completions)  # T
        self.inputs = [  # (1, heads, T, d) over memory of (T, heads, d), as the layers have them
            torch.randn(1, self.tokens, heads, shape.d, generator=generator)
            .to(device, dtype)
            .transpose(1, 2)
            for heads in (shape.H, shape.Hkv, shape.Hkv)
        ]
        self.weights = torch.randn(1, self.tokens, shape.H, shape.d, generator=generator)
        self.weights = self.weights.to(device, dtype)
        for tensor in self.inputs:
            tensor.requires_grad_()
        self.copying, groups = self.copying_reader(dtype), self.groups(dtype)
        flash = flash_for(device, dtype, shape.d)
        self.apart: GroupReader = MergingReader(groups, shape.H // shape.Hkv)
        if flash is not None:
            self.apart = VarlenReader(groups, flash)
        self.block_mask: BlockMask | None = None

    def groups(self, dtype: torch.dtype) -> PackedGroups:
        return PackedGroups(
            prompt_lengths=self.prompts,
            rows_per_prompt=[self.shape.G] * self.shape.N,
            completion_lengths=self.completions,
            device=self.device,
            dtype=dtype,
        )

    def copying_reader(self, dtype: torch.dtype) -> CopyingReader:
        return CopyingReader(self.groups(dtype), self.shape.H // self.shape.Hkv)

    def copies(self, *packed: Tensor) -> Tensor:
        """Return (1, T, H, d), as the others do."""
        return read_by(self.copying, *packed)

    def merged(self, *packed: Tensor) -> Tensor:
        return read_by(self.apart, *packed)

    def flex(self, *packed: Tensor) -> Tensor:
        read = _compiled(flex_attention) if self.device.type == "cuda" else flex_attention
        return read(*packed, block_mask=self.block_mask, enable_gqa=True).transpose(1, 2)

    def make_block_mask(self) -> None:
        make = _compiled(create_block_mask) if self.device.type == "cuda" else create_block_mask
        self.block_mask = make(self.visible(), None, None, self.tokens, self.tokens, self.device)

    def visible(self) -> Callable[..., Tensor]:
        """Return FlexAttention's mask: own group's prompt, own row, and nothing later."""
        rows = torch.arange(self.shape.N * self.shape.G).repeat_interleave(
            torch.tensor(self.completions)
        )
        owner = torch.arange(self.shape.N).repeat_interleave(torch.tensor(self.prompts))
        owner = torch.cat([owner, rows // self.shape.G]).to(self.device)  # (T,) the group
        row = torch.cat([torch.full((sum(self.prompts),), -1), rows]).to(self.device)  # -1: prompt

        def mask(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            own = (row[key] == -1) | (row[key] == row[query])
            return (owner[query] == owner[key]) & own & (key <= query)

        return mask

    def forward_backward(self, way: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        """Return the gradients of query, key and value."""
        return torch.autograd.grad(way(*self.inputs), self.inputs, self.weights)

    def timed(self, way: Callable[..., Tensor], layers: int) -> None:
        """Run so many layers; on a GPU their launches overlap, as a model's do."""
        for _ in range(layers):
            self.forward_backward(way)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def read_by(reader: GroupReader, *packed: Tensor) -> Tensor:
    """Return (1, T, H, d) of (1, heads, T, d) each."""
    query, key, value = (tensor[0].transpose(0, 1) for tensor in packed)
    return reader.read(query, key, value, query.shape[2] ** -0.5)[0][None]


@cache
def _compiled(function: Callable) -> Callable:
    """Return the function compiled for all lengths, the same one every time."""
    return torch.compile(function, dynamic=True)


def truth(contest: Contest) -> list[Tensor]:
    """Return the read and its gradients over copies in float32."""
    exact = [tensor.detach().float().requires_grad_() for tensor in contest.inputs]
    read = read_by(contest.copying_reader(torch.float32), *exact)
    gradients = torch.autograd.grad(read, exact, contest.weights.float())
    return [read.detach(), *gradients]


def worst_error(contest: Contest, way: Callable[..., Tensor], expected: list[Tensor]) -> float:
    """Return the largest relative L2 error of the read and its gradients."""
    found = [way(*contest.inputs).detach(), *contest.forward_backward(way)]
    pairs = zip(found, expected, strict=True)
    return max(((one.float() - other).norm() / other.norm()).item() for one, other in pairs)


def extra_mebibytes(contest: Contest, way: Callable[..., Tensor]) -> float | None:
    """Return what a forward and backward needs at its peak beside inputs, masks and indices."""
    if contest.device.type != "cuda":
        return None
    torch.cuda.synchronize(contest.device)
    torch.cuda.reset_peak_memory_stats(contest.device)
    before = torch.cuda.memory_allocated(contest.device)
    contest.timed(way, 1)
    return round((torch.cuda.max_memory_allocated(contest.device) - before) / 2**20, 1)


def flex_mask_error(contest: Contest, expected: Tensor) -> float:
    """Return how far FlexAttention's read is off where it has no gradient: on a CPU."""
    contest.make_block_mask()
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):  # that it is not compiled
        read = contest.flex(*(tensor.detach() for tensor in contest.inputs))
    return ((read - expected).norm() / expected.norm()).item()


def measure(
    shape: Shape, device: torch.device, dtype: torch.dtype, repeats: int, *, with_flex: bool = True
) -> Row:
    """Return one shape's row: errors, seconds per layer, memory, and the fastest way."""
    contest, on_gpu = Contest(shape, device, dtype), device.type == "cuda"
    row: Row = {**asdict(shape), "tokens": contest.tokens}
    expected = truth(contest)
    ways = {"copies": contest.copies, "merged": contest.merged}
    errors = {name: worst_error(contest, way, expected) for name, way in ways.items()}
    if on_gpu and with_flex:
        started = time.perf_counter()
        try:
            contest.make_block_mask()
            errors["flex"] = worst_error(contest, contest.flex, expected)
            ways["flex"] = contest.flex
        except RuntimeError as failed:  # it would not compile: the other two are compared
            row["flex_failed"] = str(failed)[:500]
        row["flex_first_seconds"] = round(time.perf_counter() - started, 2)  # compiles, if it must
    elif with_flex:
        errors["flex"] = flex_mask_error(contest, expected[0])
    row["errors"] = errors
    wrong = {name: error for name, error in errors.items() if not error <= BARS[dtype]}
    if wrong:
        return row | {"wrong": wrong}
    del expected
    row["extra_mebibytes"] = {name: extra_mebibytes(contest, way) for name, way in ways.items()}
    layers = 20 if on_gpu else 1
    runs = {name: partial(contest.timed, way, layers) for name, way in ways.items()}
    if "flex" in ways:
        runs["flex_mask"] = lambda: (contest.make_block_mask(), torch.cuda.synchronize(device))
    row |= {"layers": layers, "seconds": interleaved(runs, repeats)}
    per_layer = {name: row["seconds"][name]["median"] / layers for name in ways}
    return row | {"fastest": min(per_layer, key=per_layer.get), "seconds_per_layer": per_layer}


def print_row(row: Row) -> None:
    """Print a line per way."""
    print(" ".join(f"{name} {row[name]}" for name in Shape.__annotations__), f"T {row['tokens']}")
    for name, error in row["errors"].items():
        line = f"  {name:<8} error {error:.1e}"
        if name in row.get("seconds_per_layer", {}):
            line += f"  {1000 * row['seconds_per_layer'][name]:9.3f} ms a layer"
            extra = row["extra_mebibytes"][name]
            line += "" if extra is None else f"  {extra:9.1f} MiB"
        print(line)
    if "flex_failed" in row:
        print(f"  flex     failed: {row['flex_failed'].splitlines()[0]}")
    if "wrong" in row:
        print(f"  WRONG, no time taken: {', '.join(row['wrong'])}", flush=True)
    else:
        print(f"  fastest: {row['fastest']}", flush=True)


def main() -> None:
    parser = arguments(__doc__, "attention_<gpu>.json")
    parser.set_defaults(output=None)
    sizes = tuple(Shape.__annotations__)
    parser.add_argument(
        "--shape", type=int, nargs=7, action="append", metavar=sizes, help="instead of the defaults"
    )
    given = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    if not (on_gpu or given.smoke):
        parser.error("there is no CUDA device here: what it compares is CUDA's; try --smoke")
    torch.set_num_threads(THREADS)
    device, dtype = torch.device("cpu"), torch.float32
    if on_gpu:
        device, dtype = torch.device("cuda"), torch.bfloat16
        if flash_for(device, dtype, 128) is None:
            sys.exit("this card has no varlen flash attention: there is nothing to compare")
    shapes = [TINY] if given.smoke else SHAPES
    if given.shape:
        shapes = [Shape(*sizes) for sizes in given.shape]
    rows = []
    for shape in shapes:
        rows.append(measure(shape, device, dtype, 2 if given.smoke else max(5, given.repeats)))
        print_row(rows[-1])
    if on_gpu and not given.smoke and given.output is None:
        name = re.sub(r"[^a-z0-9]+", "_", torch.cuda.get_device_name(device).lower()).strip("_")
        given.output = ROOT / "benchmarks" / "results" / f"attention_{name}.json"
    if given.output:
        command = f"python {Path(__file__).relative_to(ROOT)}"
        write_result(given.output, command, {"dtype": str(dtype).split(".")[1], "rows": rows})
    fastest = [row["fastest"] for row in rows if "fastest" in row]
    if fastest:
        counts = {name: fastest.count(name) for name in sorted(set(fastest))}
        print("fastest:", ", ".join(f"{name} in {n} shapes" for name, n in counts.items()))
    sys.exit(any("wrong" in row for row in rows))


if __name__ == "__main__":
    main()
