"""The fused log-prob op beside other ways to the same numbers: seconds and extra memory.

    python benchmarks/logprob.py                  CPU: ours and the plain path; about 2 minutes
    python benchmarks/logprob.py --device cuda    GPU: ours by tile, entropy and backend, the plain
                                                  path, other libraries; at most 8 minutes

The second is the default where there is a GPU. Writes benchmarks/results/logprob_cpu.json or
logprob_<gpu>.json, prints the table and names every limit that was missed; exit status 1 then.

On a CPU each way runs in processes of its own, which take turns: a noisy machine is noisy for both.
Extra memory is a process's high-water mark less what it held when the inputs were there, less the
size of dH and dW. (The plain path's mark comes before its dW does, which is to its advantage.)

On a GPU all ways take turns in one process, timed by CUDA events, and are judged by the matrix
products that none can do without: 1 forward, 4 with backward, unchunked, cuBLAS's, bf16 out.

No ratio is printed of numbers that are wrong: ours is compared with the plain path first.
`--smoke` runs the same code on tiny sizes, wherever it is, and judges nothing.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks import logprob_peers as ways  # noqa: E402
from grpo.run.provenance import machine  # noqa: E402

MIB = 2**20
PASSES = ("forward", "both")  # in this order: a high-water mark only rises
Row = dict[str, Any]


@dataclass(frozen=True)
class Limit:
    """What was found beside what it must reach; found is None where it was not measured."""

    name: str
    found: float | None
    bound: float
    at_most: bool

    @property
    def missed(self) -> bool:
        """Whether it was measured and lies on the wrong side."""
        if self.found is None:
            return False
        return self.found > self.bound if self.at_most else self.found < self.bound

    def __str__(self) -> str:
        side = "at most" if self.at_most else "at least"
        return f"{self.name}: {self.found:.4g}, must be {side} {self.bound:.4g}"


def main() -> None:
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if on_gpu else "cpu")
    parser.add_argument("--output", type=Path, help="default: in benchmarks/results; smoke: none")
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--rounds", type=int, default=5, help="CPU: processes per way")
    parser.add_argument("--repeats", type=int, help="default: CPU 5 per process, GPU 20")
    parser.add_argument("--budget-seconds", type=float, default=440, help="GPU: then stop")
    parser.add_argument("--trace", type=Path, help="GPU: profile one forward and backward of ours")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, no verdict")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(CHILDREN[given.child](given)))
        return
    if given.device == "cuda" and not (on_gpu or given.smoke):
        parser.error("there is no CUDA device here: use --device cpu, or --smoke")
    given.repeats = given.repeats or (2 if given.smoke else 5 if given.device == "cpu" else 20)

    result, limits = (on_cpu if given.device == "cpu" else on_cuda)(given)
    missed = [str(limit) for limit in limits if limit.missed]
    unknown = sum(limit.found is None for limit in limits)
    result |= {"limits": [asdict(limit) for limit in limits], "missed": missed}
    result = {"command": " ".join(["python", *sys.argv]), **machine(), "cpu": cpu(), **result}
    print_table(result["rows"])
    output = given.output or (None if given.smoke else default_output(given.device))
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n")
    for line in result["notes"]:
        print("note:", line)
    print(f"{len(limits)} limits: {len(missed)} missed, {unknown} not measured")
    for line in missed:
        print("MISSED", line)
    sys.exit(bool(missed) and not given.smoke)


# ---- CPU ----------------------------------------------------------------------------------------


def cpu_shape(smoke: bool) -> dict[str, int]:
    return {"N": 256, "D": 32, "V": 2048} if smoke else {"N": 2048, "D": 256, "V": 32_768}


def on_cpu(given: argparse.Namespace) -> tuple[Row, list[Limit]]:
    """Let processes of ours and of the plain path take turns; return rows and limits."""
    rounds = 2 if given.smoke else given.rounds
    runs = {"ours": [], "plain": []}
    for turn in range(rounds):
        for name in list(runs)[:: 1 if turn % 2 else -1]:
            runs[name].append(in_a_process(given, name))
            ways.refuse_if_wrong(runs[name][-1]["errors"], logprobs=5e-5, gradients=2e-5)
    rows = []
    for passed in PASSES:
        for name, found in runs.items():
            seconds = [median(run[passed]["seconds"]) for run in found]
            extra = [run[passed]["extra_bytes"] for run in found]
            row = {**cpu_shape(given.smoke), "pass": passed, "way": name}
            row |= {"seconds": median(seconds), "seconds_least": min(seconds)}
            row |= {"extra_bytes": median(extra)}
            rows.append(row | {"seconds_by_round": seconds, "extra_bytes_by_round": extra})
    conditions = {"threads": given.threads, "rounds": rounds, "repeats": given.repeats}
    result = {"conditions": conditions | {"dtype": "float32"}, "rows": rows, "notes": []}
    return result | {"errors": runs["ours"][0]["errors"]}, list(cpu_limits(rows))


def cpu_limits(rows: list[Row]) -> Iterator[Limit]:
    by_name = {(row["pass"], row["way"]): row for row in rows}
    for passed in PASSES:
        ours, plain = by_name[passed, "ours"], by_name[passed, "plain"]
        saved = plain["extra_bytes"] / max(ours["extra_bytes"], 1)
        yield Limit(f"{passed}, times less extra memory than plain", saved, 5.0, False)
        slower = ours["seconds"] / plain["seconds"]
        yield Limit(f"{passed}, times the seconds of plain", slower, 1.15, True)


def in_a_process(given: argparse.Namespace, child: str, **environment: str) -> Any:
    """Run this file again as one of CHILDREN, alone in a process, and return what it found."""
    command = [sys.executable, __file__, "--child", child, "--device", given.device]
    command += ["--threads", str(given.threads), "--repeats", str(given.repeats)]
    command += ["--smoke"] * given.smoke
    output = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    return json.loads(output.stdout)


def cpu_child(given: argparse.Namespace) -> Row:
    """Return seconds, extra memory and errors of one way, in a process that does nothing else."""
    torch.set_num_threads(given.threads)
    both = {"ours": ways.ours("torch"), "plain": ways.plain}
    way = both[given.child]
    tiny = ways.make_inputs(64, 16, 512, dtype=torch.float32, device="cpu")
    ways.outputs_and_gradients(way, tiny)  # threads and libraries are there from now on
    inputs = ways.make_inputs(**cpu_shape(given.smoke), dtype=torch.float32, device="cpu")
    timed = ways.variant(given.child, way, inputs)
    held, result = memory("VmRSS"), {}
    for passed in PASSES:
        call = getattr(timed, passed)
        call()
        extra = memory("VmHWM") - held - ways.gradient_bytes(inputs, passed)
        seconds = [seconds_of(call) for _ in range(given.repeats)]
        result[passed] = {"seconds": seconds, "extra_bytes": extra}
    return result | {"errors": ways.errors(both["ours"], inputs, inputs)}


def memory(field: str) -> int:
    """Return a field of Linux's account of this process, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * 1024


# ---- GPU ----------------------------------------------------------------------------------------

TILE_BYTES = 256 * MIB  # token_logprobs's default on CUDA
# tile -> least share of the matrix products' speed; by pass, then D = 1,536 and D = 3,584
SHARES = {
    "fp32": {"forward": (0.80, 0.88), "both": (0.80, 0.89)},
    "bf16": {"forward": (0.88, 0.94), "both": (0.89, 0.94)},
}
SAVING_TOKENS = 8192  # where the memory saved is judged
LEAST_ROUNDS = 3  # of a shape that runs out of time


def gpu_shapes(smoke: bool) -> list[dict[str, int]]:
    """Return the shapes, those that matter most first."""
    if smoke:
        return [{"N": N, "D": D, "V": 1003} for N in (64, 32) for D in (16, 48)]
    return [{"N": N, "D": D, "V": 151_936} for N in (8192, 16_384, 1024) for D in (1536, 3584)]


@dataclass(frozen=True)
class Bench:
    """Where things are timed, how often and until when; and what could not be, line by line."""

    device: str
    repeats: int
    stop_at: float
    notes: list[str]

    @property
    def is_over(self) -> bool:
        return time.perf_counter() > self.stop_at


def on_cuda(given: argparse.Namespace) -> tuple[Row, list[Limit]]:
    """Time every way on every shape until the budget is spent; return rows and limits."""
    device = "cuda" if torch.cuda.is_available() else "cpu"  # the latter only in a smoke run
    stop_at = time.perf_counter() + given.budget_seconds
    bench = Bench(device, given.repeats, stop_at, notes=[])
    kernels = "cuda" if device == "cuda" else "torch"
    others, libraries = ways.other_libraries()
    shapes, rows, found, first_use = gpu_shapes(given.smoke), [], [], None
    for shape in shapes:
        if bench.is_over:
            bench.notes.append(f"{shape}: not measured, the time was up")
            continue
        inputs = ways.make_inputs(**shape, dtype=torch.bfloat16, device=device)
        found.append({"shape": shape, "errors": ways.check(kernels, inputs, others)})
        rows += measure(ways.all_variants(kernels, inputs, others), inputs, bench)
        if shape == shapes[0]:
            with TemporaryDirectory() as empty:
                first_use = in_a_process(given, "first use", XDG_CACHE_HOME=empty)
            rows += measure(ways.sweep(kernels, inputs), inputs, bench)
            if given.trace:
                write_trace(given.trace, kernels, inputs)
        del inputs
        if device == "cuda":
            torch.cuda.empty_cache()
    bench.notes.extend(f"{name}: {what}" for name, what in libraries.items())
    conditions = {"repeats": given.repeats, "dtype": "bfloat16", "budget": given.budget_seconds}
    conditions |= {"cuda": torch.version.cuda, "libraries": libraries}
    result = {"conditions": conditions, "errors": found, "first_use": first_use, "rows": rows}
    return result | {"notes": bench.notes}, list(gpu_limits(rows, shapes, first_use))


def measure(variants: list[ways.Variant], inputs: ways.Inputs, bench: Bench) -> list[Row]:
    """Warm up, read the memory, let all take turns, and return a row per pass and way."""
    extra, seconds = {}, {}
    for item in variants:
        try:
            for passed in PASSES:
                extra[passed, item.name] = extra_memory(item, passed, inputs, bench)
        except Exception as error:  # a neighbour's: on this GPU, at this size, out of memory
            if item.name.startswith("ours"):
                raise
            bench.notes.append(f"{item.name}, {inputs.sizes}: {type(error).__name__}: {error}")
    ready = [item for item in variants if ("both", item.name) in extra]
    for turn in range(bench.repeats):
        if turn >= LEAST_ROUNDS and bench.is_over:
            break
        for passed in PASSES:
            first = turn % len(ready)  # nobody is always behind the same neighbour
            order = ready[first:] + ready[:first]
            for item, took in zip(order, times_of(order, passed, bench), strict=True):
                seconds.setdefault((passed, item.name), []).append(took)
    rows = []
    for (passed, name), took in seconds.items():
        row = {**inputs.sizes, "pass": passed, "way": name, "seconds": median(took)}
        row |= {"seconds_least": min(took), "repeats": len(took)}
        rows.append(row | {"extra_bytes": extra[passed, name]})
    return rows


def extra_memory(item: ways.Variant, passed: str, inputs: ways.Inputs, bench: Bench) -> int | None:
    """Run twice, the second time looking at the allocator; the first compiles and tunes."""
    call = getattr(item, passed)
    call()
    if bench.device != "cuda":
        return None
    torch.cuda.synchronize(bench.device)
    torch.cuda.reset_peak_memory_stats(bench.device)
    before = torch.cuda.memory_allocated(bench.device)
    call()
    torch.cuda.synchronize(bench.device)
    if item.name == ways.PRODUCTS:  # writes into what was there
        return None
    return (
        torch.cuda.max_memory_allocated(bench.device) - before - ways.gradient_bytes(inputs, passed)
    )


def times_of(items: list[ways.Variant], passed: str, bench: Bench) -> list[float]:
    """Return the seconds of one call each; on a GPU without a pause in between."""
    if bench.device != "cuda":
        return [seconds_of(getattr(item, passed)) for item in items]
    pairs = []
    for item in items:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        getattr(item, passed)()
        end.record()
        pairs.append((start, end))
    torch.cuda.synchronize(bench.device)
    return [start.elapsed_time(end) / 1000 for start, end in pairs]


def write_trace(path: Path, kernels: str, inputs: ways.Inputs) -> None:
    """Write torch's profile of one forward and backward of ours."""
    with torch.profiler.profile() as profiler:
        ways.variant("ours", ways.ours(kernels), inputs).both()
        if inputs.hidden.is_cuda:
            torch.cuda.synchronize(inputs.hidden.device)
    profiler.export_chrome_trace(str(path))


def first_use_child() -> Row:
    """Return the seconds of the first call, whose kernels nobody has compiled, and of the next."""
    device, backend = ("cuda", "cuda") if torch.cuda.is_available() else ("cpu", "torch")
    inputs = ways.make_inputs(64, 64, 1024, dtype=torch.bfloat16, device=device)
    ways.outputs_and_gradients(ways.plain, inputs)[0].sum().item()  # the device is up from now on

    def call() -> None:
        sum(part.sum() for part in ways.outputs_and_gradients(ways.ours(backend), inputs)).item()

    return {"first": seconds_of(call), "second": seconds_of(call)}


def gpu_limits(
    rows: list[Row], shapes: list[dict[str, int]], first_use: Row | None
) -> Iterator[Limit]:
    """Yield every limit of the design's table, met or not."""
    table = {(row["N"], row["D"], row["pass"], row["way"]): row for row in rows}
    smallest = min(shape["D"] for shape in shapes)
    for shape in shapes:
        N, D = shape["N"], shape["D"]
        cells = {key[2:]: row for key, row in table.items() if key[:2] == (N, D)}
        for limit in shape_limits(cells, N, D, is_small=smallest == D):
            yield replace(limit, name=f"N {N}, D {D}, {limit.name}")
    compiling = first_use and first_use["first"]
    yield Limit("seconds of the first call, kernels not compiled yet", compiling, 3.0, True)


def shape_limits(
    cells: dict[tuple[str, str], Row], N: int, D: int, *, is_small: bool
) -> Iterator[Limit]:
    """Yield the limits of one shape from its rows by pass and way."""

    def found(passed: str, way: str, field: str = "seconds") -> float | None:
        return cells.get((passed, way), {}).get(field)

    def ratio(top: float | None, bottom: float | None) -> float | None:
        return None if top is None or bottom is None else top / max(bottom, 1e-9)

    for passed in PASSES:
        for tile in ways.TILES:
            ours = f"ours, {tile} tile"
            seconds = found(passed, ours)
            share = ratio(found(passed, ways.PRODUCTS), seconds)
            least = SHARES[tile][passed][0 if is_small else 1]
            yield Limit(f"{passed}, {tile} tile, of cuBLAS's speed", share, least, False)
            entropy = ratio(found(passed, f"{ours}, entropy"), seconds)
            yield Limit(f"{passed}, {tile} tile, cost of entropy", entropy, 1.03, True)
            most = TILE_BYTES + 32 * MIB
            if passed == "both":
                most = 1.5 * TILE_BYTES + 4 * N * D + 64 * MIB
            extra = found(passed, ours, "extra_bytes")
            yield Limit(f"{passed}, {tile} tile, extra bytes", extra, most, True)
        faster = {"CCE, exact": 1.0, "verl": 1.0}
        faster |= {"TRL": 3.0, "Liger": 3.0} if passed == "both" else {}
        faster |= {"plain": 1.8 if passed == "forward" else 1.2} if is_small else {}
        for way, least in faster.items():
            times = ratio(found(passed, way), found(passed, "ours, fp32 tile"))
            yield Limit(f"{passed}, times faster than {way}", times, least, False)
    if N == SAVING_TOKENS:
        both = (found("both", way, "extra_bytes") for way in ("plain", "ours, fp32 tile"))
        yield Limit("both, times less extra memory than plain", ratio(*both), 30.0, False)


# ---- both ---------------------------------------------------------------------------------------


def seconds_of(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def print_table(rows: list[Row]) -> None:
    """Print the rows, on a GPU with their share of the matrix products' speed."""
    products = {
        (row["N"], row["D"], row["pass"]): row["seconds"]
        for row in rows
        if row["way"] == ways.PRODUCTS
    }
    print(f"{'N':>6} {'D':>5} {'V':>7} {'pass':8} {'way':32} {'ms':>9} {'MiB':>9} of cuBLAS")
    for row in rows:
        extra = row["extra_bytes"]
        share = products.get((row["N"], row["D"], row["pass"]))
        share = share and share / row["seconds"]
        print(
            f"{row['N']:6} {row['D']:5} {row['V']:7} {row['pass']:8} {row['way']:32}"
            f" {row['seconds'] * 1000:9.2f} {'-' if extra is None else f'{extra / MIB:.1f}':>9}"
            f" {'' if share is None else f'{share:.2f}'}"
        )


def default_output(device: str) -> Path:
    name = torch.cuda.get_device_name(device) if device == "cuda" else "cpu"
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return ROOT / "benchmarks" / "results" / f"logprob_{slug}.json"


def cpu() -> Row:
    """Return the processor's name and the number of its cores this process may use."""
    names = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return {"name": names[0] if names else "unknown", "cores": len(os.sched_getaffinity(0))}


CHILDREN = {"ours": cpu_child, "plain": cpu_child, "first use": lambda _given: first_use_child()}

if __name__ == "__main__":
    main()
