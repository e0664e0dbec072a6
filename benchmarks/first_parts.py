"""The parts of benchmarks/first_minutes.py, each run in a process of its own.

A part is a function from `Given` to nothing: what it finds goes to `Given.tell`, row by row, so
that a part which is stopped leaves what it had.
"""

import gc
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import ROOT, cpu
from first_minutes import Row, write
from gpu import CASE, SMOKE, rollout_part
from gpu_bounds import decode_bytes, share_of_bandwidth
from our_step import Ours, load_pair, spreads
from step_cases import Case, make_checkpoint, make_turns

from grpo.run.provenance import machine
from grpo.settings.device_memory import memory_of_run
from grpo.watch.gap import GAP_MEAN_BFLOAT16
from models.devices import check_device, make_current
from models.policy import Policy

STEPS = 10
STEP_CASE = replace(CASE, prompts=4, group=4)  # train.py's own defaults for a real model
MICRO_BATCH_TOKENS = 4096
# What q/k biases add to every raw score, before scaling: as in Qwen2, where bfloat16 scores would
# put sampler and update a tenth of a nat apart. Random weights without it show nothing.
SCORE_OFFSET = 2000.0


@dataclass
class Given:
    """Where a part runs, how large, and where its findings go."""

    device: torch.device
    smoke: bool
    file: Path | None
    found: Row = field(default_factory=dict)

    def tell(self, **rows: Any) -> None:
        """Add to what was found, and write it."""
        self.found |= rows
        if self.file is not None:
            write(self.file, self.found)

    @property
    def on_cuda(self) -> bool:
        return self.device.type == "cuda"


def run_part_here(name: str, *, torch_device: str, smoke: bool, file: Path) -> None:
    """Run a part in this process; its findings go to the file."""
    try:
        device = make_current(check_device(torch_device))
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error
    PARTS[name](Given(device, smoke, file))


def look_at_machine(given: Given) -> None:
    """The device's name and memory, and that it computes."""
    name = "cpu"
    if given.on_cuda:
        name = torch.cuda.get_device_name(given.device)
        free, total = torch.cuda.mem_get_info(given.device)
        capability = ".".join(map(str, torch.cuda.get_device_capability(given.device)))
        given.tell(
            cuda=torch.version.cuda,
            compute_capability=capability,
            gigabytes=round(total / 1e9, 1),
            gigabytes_free=round(free / 1e9, 1),
        )
    square = torch.eye(256, device=given.device)
    assert torch.equal(square @ square, square), "the device does not compute"
    given.tell(device=name, cpu=cpu(), **machine())
    print(name)


# The GPU tests


class TestRecorder:
    """A pytest plugin that tells each test's outcome at once."""

    __test__ = False

    def __init__(self, given: Given) -> None:
        self._given = given
        self._counts = {"passed": 0, "failed": 0, "skipped": 0}
        self._not_passed: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.passed:
            return  # set up and torn down
        self._counts[report.outcome] += 1
        if report.failed:
            self._not_passed[report.nodeid] = str(report.longrepr)[-2000:]
        elif report.skipped:
            self._not_passed[report.nodeid] = f"skipped: {report.longrepr[-1]}"
        self._given.tell(**self._counts, not_passed=self._not_passed)


def run_tests(given: Given) -> None:
    """`pytest -m gpu`; a smoke run takes one file, whose tests a CPU skips."""
    import pytest

    where = ["tests/models/test_products.py"] if given.smoke else ["tests"]
    options = ["-m", "gpu", "-q", "--tb=short", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    recorder = TestRecorder(given)
    given.tell(passed=0, failed=0, skipped=0, not_passed={})
    status = pytest.main([*options, *(str(ROOT / place) for place in where)], plugins=[recorder])
    if status != 0:
        raise SystemExit(f"pytest ended with {status!r}")


# Ten steps


@torch.no_grad()
def inflate_biases(policy: Policy, offset: float = SCORE_OFFSET) -> None:
    """Give q and k biases whose product adds `offset` to every raw score.

    They lie in the pairs of dimensions that turn slowest, so that the rotary turn between near
    positions leaves the sum nearly what it is: a softmax in float32 hardly sees it.
    """
    for layer in policy.text.layers:
        attention = layer.self_attn
        half = attention.head_dim // 2
        slow = torch.arange(half - max(1, half // 8), half)
        dims = torch.cat([slow, slow + half])
        for projection in (attention.q_proj, attention.k_proj):
            bias = projection.bias.unflatten(0, (-1, attention.head_dim))  # a view
            bias[:, dims.to(bias.device)] += (offset / len(dims)) ** 0.5


def take_steps(given: Given) -> None:
    """Ten steps of train.py's size: gap, memory beside the estimate, seconds by part."""
    case, steps = (SMOKE, 2) if given.smoke else (STEP_CASE, STEPS)
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        checkpoint = make_checkpoint(case, Path(folder), torch.bfloat16, str(given.device))
        release(given)
        made = time.perf_counter()
        policy, reference = load_pair(
            checkpoint, device=given.device, dtype="bfloat16", gradient_checkpointing=True
        )
        for model in (policy, reference):
            inflate_biases(model)
        turns = make_turns(case, checkpoint, steps)
        ours = Ours(policy, reference, case, turns, micro_batch_tokens=MICRO_BATCH_TOKENS)
        loaded = time.perf_counter()
        estimate = memory_of_run(estimated_settings(ours, checkpoint, given))
        given.tell(
            case=sizes(case),
            score_offset=SCORE_OFFSET,
            seconds_to_make=round(made - started, 1),
            seconds_to_load=round(loaded - made, 1),
            estimated_gigabytes=round(estimate.total / 1e9, 2),
            estimate=str(estimate),
            gap_limit=GAP_MEAN_BFLOAT16,
            steps=[],
        )
        for index in range(steps):
            result, times = ours.step(index)
            names = ("logprob_gap/mean", "logprob_gap/max", "kl", "grad_norm", "entropy")
            row = {name: result.metrics[name] for name in names}
            row |= {name: round(seconds, 4) for name, seconds in times.items()} | memory(given)
            given.tell(steps=[*given.found["steps"], row])
            print(
                f"step {index + 1}: gap {row['logprob_gap/mean']:.3g} nat in the mean (alarm at"
                f" {GAP_MEAN_BFLOAT16}), {row['time/step']:.2f} s, "
                + ", ".join(f"{k.removeprefix('time/')} {v:.2f}" for k, v in times.items()),
                flush=True,
            )
    seen = given.found["steps"]
    parts = [{name: row[name] for name in row if name.startswith("time/")} for row in seen]
    given.tell(
        gap_mean=sum(row["logprob_gap/mean"] for row in seen) / len(seen),
        seconds=spreads(parts[1:]),  # the first step captures graphs and loads kernels
    )
    if given.on_cuda:
        peak = max(row["peak_gigabytes"] for row in seen)
        given.tell(peak_over_estimate=round(peak / (estimate.total / 1e9), 3))
        print(f"peak {peak:.1f} GB, estimated {estimate}")


def estimated_settings(ours: Ours, checkpoint: Path, given: Given) -> Any:
    """Return the settings that train.py would estimate this run's memory from."""
    return replace(
        ours.config,
        model=str(checkpoint),
        image_size=ours.case.image_size,
        device=str(given.device),
        reference_device=str(given.device),
        dtype="bfloat16",
        gradient_checkpointing=True,
    )


def memory(given: Given) -> Row:
    """Return what the GPU's allocator has held at most so far."""
    if not given.on_cuda:
        return {}
    peak = (
        torch.cuda.max_memory_allocated(given.device),
        torch.cuda.max_memory_reserved(given.device),
    )
    names = ("peak_gigabytes", "peak_gigabytes_reserved")
    return {name: round(held / 1e9, 3) for name, held in zip(names, peak, strict=True)}


def release(given: Given) -> None:
    """Forget the model that wrote the checkpoint, its memory's peak too."""
    gc.collect()
    if given.on_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(given.device)


# Rows of the other benchmarks


def time_decoding(given: Given) -> None:
    """One rollout's prefill and decoding, as benchmarks/gpu.py takes them, without a peer."""
    case = SMOKE if given.smoke else CASE
    with TemporaryDirectory() as folder:
        checkpoint = make_checkpoint(case, Path(folder), torch.bfloat16, str(given.device))
        release(given)
        policy, _ = load_pair(checkpoint, device=given.device, dtype="bfloat16")
        turns = make_turns(case, checkpoint, steps=1)
        ours = Ours(policy, policy, case, turns, optimized=False)
        repeats = 1 if given.smoke else 3
        row = rollout_part(ours, checkpoint, repeats, {"greedy_tokens_equal": False})
    prompt_tokens = sum(prompt.num_tokens for prompt in ours.batch(0).prompts)
    num_bytes = decode_bytes(
        policy.text.config.to_dict(),
        prompt_tokens=prompt_tokens,
        rows=case.prompts * case.group,
        C=case.new_tokens,
    )
    share = share_of_bandwidth(num_bytes, row["decode_seconds"])
    given.tell(case=sizes(case), **row, decode_share_of_bound=share, **memory(given))
    print(f"{row['decode_tokens_per_second']:,.0f} tokens a second, {share:.2f} of the bound")


def time_logprobs(given: Given) -> None:
    """The first shape of benchmarks/logprob.py, all ways in turn."""
    import logprob

    settings = Namespace(
        device=given.device.type,
        budget_seconds=1.0 if given.smoke else 20.0,  # then no further shape is begun
        repeats=1 if given.smoke else 5,
        threads=1,
        smoke=given.smoke,
        trace=None,
    )
    result, _ = logprob.on_cuda(settings)
    given.tell(**result)
    logprob.print_table(result["rows"])


def compare_attention(given: Given) -> None:
    """The first shapes of benchmarks/attention.py: packed tokens as they lie, and padded copies."""
    import attention

    dtype = torch.bfloat16 if given.on_cuda else torch.float32
    given.tell(dtype=str(dtype).removeprefix("torch."), rows=[])
    for shape in [attention.TINY] if given.smoke else attention.SHAPES[:3]:
        repeats = 1 if given.smoke else 5
        row = attention.measure(shape, given.device, dtype, repeats, with_flex=False)
        given.tell(rows=[*given.found["rows"], row])
        attention.print_row(row)
    wrong = [row["wrong"] for row in given.found["rows"] if "wrong" in row]
    if wrong:
        raise SystemExit(f"attention is wrong: {wrong}")


def sizes(case: Case) -> Row:
    """Return the case's numbers without the configs of its model."""
    return {name: value for name, value in asdict(case).items() if name not in ("text", "vision")}


PARTS: dict[str, Callable[[Given], None]] = {
    "machine": look_at_machine,
    "tests": run_tests,
    "steps": take_steps,
    "decode": time_decoding,
    "logprob": time_logprobs,
    "varlen": compare_attention,
}
