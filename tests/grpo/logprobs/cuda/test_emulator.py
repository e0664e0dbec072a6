"""The emulator of CUDA kernels, on tiny kernels: what it must run, and what it must not let pass.

grpo/logprobs/cuda/logprobs.cu itself is tested elsewhere. Lines are counted in SOURCE, whose first
is 1.
"""

import ctypes
import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from grpo.logprobs.cuda.launch import Launch, pointer
from tests.grpo.logprobs.cuda import emulator as emulation
from tests.grpo.logprobs.cuda.emulator import ORDERS, Emulator, guarded_tensor, require_gxx
from tests.places import ROOT

pytestmark = pytest.mark.command

CPU = torch.device("cpu")
any_order = pytest.mark.parametrize("order", ORDERS)

SOURCE = """
extern "C" __global__ void arguments(const float* from, long long wide, int narrow, float real,
                                     double* out) {
    out[0] = from ? from[0] : -1.0; out[1] = wide; out[2] = narrow; out[3] = real;
}
extern "C" __global__ void __launch_bounds__(32 * 4) indices(int* out) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    out[4 * at] = blockIdx.x; out[4 * at + 1] = blockDim.x;
    out[4 * at + 2] = threadIdx.x; out[4 * at + 3] = gridDim.x;
}
#define TURNS(name) extern "C" __global__ void name(int* turns, int* count) { \\
    turns[(*count)++] = blockIdx.x * blockDim.x + threadIdx.x; \\
    __syncthreads(); \\
    turns[(*count)++] = blockIdx.x * blockDim.x + threadIdx.x; }
TURNS(turns)
extern "C" __global__ void warp_sums(const float* from, float* out) {
    float sum = from[threadIdx.x];
    for (int distance = 16; distance > 0; distance /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    out[threadIdx.x] = sum;
}
extern "C" __global__ void two_shuffles(float* first, int* second) {
    int at = threadIdx.x;
    first[at] = __shfl_xor_sync(0xffffffffu, 0.5f * at, 1);
    second[at] = __shfl_xor_sync(0xffffffffu, 1000 + at, 1);
}
extern "C" __global__ void partial_shuffles(int* out) {
    int at = threadIdx.x;
    if (at < 16) out[at] = __shfl_xor_sync(0xffffu, at, 4);
    else out[at] = __shfl_xor_sync(0xffff0000u, at, 8, 8);  // not from a later segment of 8
}
extern "C" __global__ void neighbour(float* out, int with_barrier) {
    __shared__ float values[128];
    values[threadIdx.x] = threadIdx.x;
    if (with_barrier) __syncthreads();
    out[threadIdx.x] = values[(threadIdx.x + 32) % blockDim.x];
}
extern "C" __global__ void untouched(float* out) {
    __shared__ float values[32];
    out[blockIdx.x * blockDim.x + threadIdx.x] = values[threadIdx.x];
    values[threadIdx.x] = 1.0f;
}
extern "C" __global__ void barrier_of_half_a_warp(float* out) {
    if (threadIdx.x < 16) __syncthreads();
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}
extern "C" __global__ void two_barriers(int* out) {
    if (threadIdx.x < 16) { __syncthreads(); out[0] = 1; }
    else __syncthreads();
}
extern "C" __global__ void barrier_of_the_rest(int* out) {
    if (threadIdx.x % 2) return;
    out[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] += out[(threadIdx.x + 2) % blockDim.x];
}
extern "C" __global__ void shuffle_with_the_exited(int* out, int exited) {
    if (threadIdx.x == exited) return;
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
}
extern "C" __global__ void shuffle_of_two_masks(int* out) {
    out[threadIdx.x] = __shfl_xor_sync(threadIdx.x < 16 ? 0xffffu : 0xffffffffu, 1, 1);
}
extern "C" __global__ void shuffle_outside_the_mask(int* out) {
    if (threadIdx.x < 8) out[threadIdx.x] = __shfl_xor_sync(0xffu, 1, 8);
}
extern "C" __global__ void numbers(float* out) {
    out[0] = fmaxf(__int_as_float(0x7fc00000), 2.0f); out[1] = exp2f(3.0f);
    out[2] = __float_as_int(1.0f) == 0x3f800000; out[3] = alignof(uint4); out[4] = alignof(uint2);
    out[5] = __fmul_rn(3.0f, 0.5f);
}
extern "C" __global__ void read_vector(const float* from, int offset, float* out) {
    uint4 vector = *reinterpret_cast<const uint4*>(from + offset);
    out[0] = __int_as_float(vector.w);
}
extern "C" __global__ void read_one(const float* from, int offset, float* out) {
    out[0] = from[offset];
}
"""


def line_of(text: str, kernel: str) -> int:
    """Return the line of the first `text` in a kernel of SOURCE."""
    return SOURCE[: SOURCE.index(text, SOURCE.index(f" {kernel}("))].count("\n") + 1


@pytest.fixture(scope="session")
def build_dir(tmp_path_factory) -> Path:
    require_gxx()
    return tmp_path_factory.mktemp("emulated")


@pytest.fixture
def run(build_dir):
    """Launch a kernel of SOURCE: tensors become pointers, an int is an int, a float a float."""

    def run(kernel, *arguments, grid=1, block=32, order="ascending", seed=0):
        kinds = {int: ctypes.c_int, float: ctypes.c_float}
        values = tuple(
            pointer(a) if isinstance(a, torch.Tensor) else kinds.get(type(a), lambda a: a)(a)
            for a in arguments
        )
        emulator = Emulator(SOURCE, order=order, seed=seed, build_dir=build_dir)
        emulator(Launch(kernel, grid, block, values), CPU)

    return run


def ints(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=torch.int32)


# ---- what it must run ----------------------------------------------------------------------------


def test_arguments_of_every_kind_arrive(run):
    out = torch.zeros(4, dtype=torch.float64)
    run("arguments", torch.tensor([0.25]), ctypes.c_longlong(-(2**40)), -7, 1.5, out)
    assert out.tolist() == [0.25, -(2.0**40), -7, 1.5]
    run("arguments", pointer(None), ctypes.c_longlong(2), -7, 1.5, out)
    assert out[0] == -1


@any_order
def test_every_thread_knows_its_place(run, order):
    out = ints(3, 64, 4)
    run("indices", out, grid=3, block=64, order=order)
    places = [[[block, 64, thread, 3] for thread in range(64)] for block in range(3)]
    assert out.tolist() == places


def turns_of(run, order, seed=0):
    turns, count = ints(2, 2, 64), ints(1)
    run("turns", turns, count, grid=2, block=64, order=order, seed=seed)
    return turns


def test_threads_and_blocks_take_turns_in_the_order_asked_for(run):
    ascending = torch.arange(128, dtype=torch.int32).view(2, 1, 64).expand(2, 2, 64)
    assert torch.equal(turns_of(run, "ascending"), ascending)
    assert torch.equal(turns_of(run, "descending"), ascending.flip(0, 2))
    drawn = turns_of(run, "random")
    assert torch.equal(drawn.view(2, 2, 64).sort().values.sort(0).values, ascending)
    assert len({tuple((row % 64).tolist()) for row in drawn.view(4, 64)}) == 4
    assert torch.equal(turns_of(run, "random"), drawn)
    assert not torch.equal(turns_of(run, "random", seed=1), drawn)


def test_repeated_random_launches_differ(build_dir):
    emulator = Emulator(SOURCE, order="random", build_dir=build_dir)
    turns, count = ints(2, 128), ints(1)
    for _ in range(2):
        emulator(Launch("turns", 1, 64, (pointer(turns), pointer(count))), CPU)
    assert not torch.equal(turns[0], turns[1])


@any_order
@pytest.mark.parametrize("block", [32, 64, 1024])
def test_a_butterfly_of_shuffles_sums_each_warp(run, order, block):
    values, out = torch.arange(block, dtype=torch.float32), torch.zeros(block)
    run("warp_sums", values, out, block=block, order=order)
    assert torch.equal(out.view(-1, 32), values.view(-1, 32).sum(1, keepdim=True).expand(-1, 32))


@any_order
def test_consecutive_shuffles_do_not_mix(run, order):
    first, second = torch.zeros(64), ints(64)
    run("two_shuffles", first, second, block=64, order=order)
    partner = torch.arange(64) ^ 1
    assert torch.equal(first, 0.5 * partner)
    assert torch.equal(second.long(), 1000 + partner)


@any_order
def test_shuffles_of_part_of_a_warp(run, order):
    out = ints(32)
    run("partial_shuffles", out, order=order)
    lanes = torch.arange(32)
    expected = torch.where(lanes < 16, lanes ^ 4, lanes & ~8)
    assert torch.equal(out.long(), expected)


def test_numbers_are_those_of_cuda(run):
    out = torch.zeros(6)
    run("numbers", out)
    assert out.tolist() == [2, 8, 1, 16, 8, 1.5]


@any_order
def test_threads_that_exited_do_not_hold_up_a_barrier(run, order):
    out = ints(64)
    run("barrier_of_the_rest", out, block=64, order=order)
    assert out[::2].min() >= 2 and out[1::2].max() == 0


# ---- what it must not let pass -------------------------------------------------------------------


def test_a_missing_barrier_shows_in_some_order(run):
    found = {}
    for order in ORDERS:
        for with_barrier in (0, 1):
            out = torch.zeros(128)
            run("neighbour", out, with_barrier, block=128, order=order)
            found[order, with_barrier] = bool(out.isnan().any())
    assert [found[order, 1] for order in ORDERS] == [False] * 3
    assert any(found[order, 0] for order in ORDERS)


@any_order
def test_shared_memory_is_nan_at_the_start_of_every_block(run, order):
    out = torch.zeros(3, 32)
    run("untouched", out, grid=3, order=order)
    assert out.isnan().all()


@any_order
def test_threads_that_wait_in_different_places_are_a_deadlock(run, order):
    barrier = line_of("__syncthreads", "barrier_of_half_a_warp")
    words = rf"_warp, block 0: deadlock, 32 of 32 .*16 in __syncthreads, line {barrier},"
    with pytest.raises(RuntimeError, match=words) as caught:
        run("barrier_of_half_a_warp", torch.zeros(32), order=order)
    assert f"16 in __shfl_xor_sync, line {barrier + 1}, first thread 16" in str(caught.value)


@any_order
def test_two_barriers_are_not_one(run, order):
    first = line_of("__syncthreads", "two_barriers")
    words = rf"16 in __syncthreads, line {first}, .*16 in __syncthreads, line {first + 1}, "
    with pytest.raises(RuntimeError, match=words):
        run("two_barriers", ints(1), order=order)


@any_order
@pytest.mark.parametrize("exited", [0, 5, 31])
def test_a_shuffle_with_a_thread_that_exited_is_an_error(run, order, exited):
    words = rf"shuffle_with_the_exited, block 0.*for lane {exited}, which has exited"
    with pytest.raises(RuntimeError, match=words):
        run("shuffle_with_the_exited", ints(32), exited, order=order)


@any_order
def test_shuffles_with_different_masks_do_not_meet(run, order):
    with pytest.raises(RuntimeError, match=r"for lane \d+, which has exited"):
        run("shuffle_of_two_masks", ints(32), order=order)


def test_a_shuffle_with_a_lane_that_is_not_there_is_an_error(run):
    with pytest.raises(RuntimeError, match="for lane 16, which has exited or never was"):
        run("warp_sums", torch.zeros(16), torch.zeros(16), block=16)
    with pytest.raises(RuntimeError, match="a lane that its mask 0xff does not name"):
        run("shuffle_outside_the_mask", ints(8))


def test_a_launch_after_a_failed_one_is_sound(run):
    out = torch.zeros(64)
    with pytest.raises(RuntimeError, match="deadlock"):
        run("two_barriers", ints(1))
    run("warp_sums", torch.ones(64), out, block=64)
    assert out.tolist() == [32.0] * 64


def test_bad_launches_are_errors(run, build_dir):
    source, out = torch.zeros(1), torch.zeros(1)
    with pytest.raises(RuntimeError, match=r'read_one, .*"pip".*"pp"'):
        run("read_one", source, out)
    with pytest.raises(RuntimeError, match=r'read_one, .*"pip".*"pqp"'):
        run("read_one", source, ctypes.c_longlong(0), out)
    with pytest.raises(RuntimeError, match="there is no kernel write_one"):
        run("write_one", source)
    for grid, block in [(0, 32), (1, 0), (1, 1025)]:
        with pytest.raises(RuntimeError, match=f"no launch of {grid} blocks of {block} threads"):
            run("read_one", source, 0, out, grid=grid, block=block)
    with pytest.raises(ValueError, match="cuda"):
        Emulator(SOURCE, build_dir=build_dir)(Launch("turns", 1, 1, ()), torch.device("cuda"))


def in_a_process(
    build_dir: Path, flags: tuple[str, ...], lines: str
) -> subprocess.CompletedProcess:
    """Run Python lines that have `read(kernel, tensor, offset)`, a launch of one thread."""
    (build_dir / "kernels.cu").write_text(SOURCE)
    script = f"""
import ctypes, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
import torch
from tests.grpo.logprobs.cuda.emulator import Emulator, guarded_tensor
from grpo.logprobs.cuda.launch import Launch, pointer
build_dir = Path({str(build_dir)!r})
emulator = Emulator(build_dir / "kernels.cu", build_dir=build_dir, flags={flags!r})
def read(kernel, tensor, offset):
    out = torch.zeros(1)
    arguments = (pointer(tensor), ctypes.c_int(offset), pointer(out))
    emulator(Launch(kernel, 1, 1, arguments), torch.device("cpu"))
    print(out.item(), flush=True)
{lines}
"""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_a_misaligned_vector_is_caught_by_the_sanitizer(build_dir):
    flags = ("-fsanitize=alignment", "-fno-sanitize-recover=all")
    lines = """
aligned = torch.arange(64.0)  # torch aligns to 64 bytes
read("read_vector", aligned, 4)
read("read_vector", aligned, 5)
"""
    result = in_a_process(build_dir, flags, lines)
    assert result.stdout.split() == ["7.0"], result.stderr
    assert result.returncode != 0
    assert "misaligned address" in result.stderr


def test_a_read_past_the_end_is_caught_by_a_guard_page(build_dir):
    lines = """
guarded = guarded_tensor(torch.arange(2000.0))
read("read_one", guarded, 1999)
read("read_one", guarded, 2000)
"""
    result = in_a_process(build_dir, (), lines)
    assert result.stdout.split() == ["1999.0"], result.stderr
    assert result.returncode == -signal.SIGSEGV


def test_a_guarded_copy_is_equal_and_may_be_written():
    for tensor in (torch.randn(3, 5).T, torch.arange(4096, dtype=torch.int64), torch.ones(())):
        copy = guarded_tensor(tensor)
        assert torch.equal(copy, tensor) and copy.is_contiguous()
        assert (copy.data_ptr() + copy.nbytes) % os.sysconf("SC_PAGESIZE") == 0
        assert copy.storage_offset() == 0  # as_strided counts from there
        copy += 1
    half = guarded_tensor(torch.ones(3, dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16 and half.sum() == 3


# ---- compiling -----------------------------------------------------------------------------------


def test_a_file_is_compiled_as_it_lies_there(build_dir, tmp_path):
    path = tmp_path / "kernels.cu"
    path.write_text(SOURCE)
    emulator = Emulator(path, build_dir=build_dir)
    assert emulator.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert emulator.launched == {}
    out = torch.zeros(6)
    for _ in range(2):
        emulator(Launch("numbers", 1, 1, (pointer(out),)), CPU)
    assert emulator.launched == {"numbers": 2}


def test_each_text_compiles_once_and_no_two_share_a_library(build_dir, monkeypatch):
    compiled = []
    compile_once = emulation._compile
    monkeypatch.setattr(emulation, "_compile", lambda *a: compiled.append(a) or compile_once(*a))
    text = 'extern "C" __global__ void number(int* out) { out[0] = 1; }'
    results = []
    for variant in (text, text.replace("1;", "2;"), text):
        out = ints(1)
        Emulator(variant, build_dir=build_dir)(Launch("number", 1, 1, (pointer(out),)), CPU)
        results.append(out.item())
    assert results == [1, 2, 1]
    assert len(compiled) == 2


def test_what_does_not_compile_says_why(build_dir):
    with pytest.raises(RuntimeError, match=r"error: .*nonsense"):
        Emulator('extern "C" __global__ void f(int* p) { nonsense(p); }', build_dir=build_dir)
    with pytest.raises(RuntimeError, match="has no kernel"):
        Emulator("__device__ int f() { return 1; }", build_dir=build_dir)


def test_without_gxx_tests_skip_but_fail_in_ci(monkeypatch):
    monkeypatch.setenv("PATH", "")
    outcomes = (pytest.fail.Exception, pytest.skip.Exception)
    for value, expected in [("true", outcomes[0]), ("", outcomes[1])]:
        monkeypatch.setenv("CI", value)
        # both are caught, or the skip of a broken helper would be this test's own
        with pytest.raises(outcomes, match=re.escape("apt install g++")) as caught:
            require_gxx()
        assert caught.type is expected
