"""logprobs.cu through NVRTC and nvcc without a GPU, and the machine code kept on disk.

The design demands no warning, no spilled register and no thread's array in memory, for the three
generations of GPUs that people train on.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest
import torch

from grpo.logprobs.cuda import compiler, rows
from grpo.logprobs.cuda.compiler import (
    OPTIONS,
    SOURCE,
    cache_directory,
    cache_key,
    compile_source,
    cubin,
    read_cached,
    source_code,
    write_cached,
)
from grpo.logprobs.tile_plan import TilePlan
from grpo.logprobs.tiles import RowsForBackward
from tests.grpo.logprobs.cuda.emulator import require_nvrtc

each_architecture = pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
REPORT = ("-v", "--warn-on-spills", "--warning-as-error")  # options of ptxas, which makes the code
MOST_REGISTERS = 64  # of 65,536 in a multiprocessor, for 1,024 threads
ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers",
    re.DOTALL,
)
TINY = b'extern "C" __global__ void tiny(int* out, int at) { out[at] = at; }'
# 200 values that every thread holds across a barrier, of 64 registers
SPILLING = b"""
extern "C" __global__ void __launch_bounds__(1024) spilling(float* out) {
    float held[200];
    #pragma unroll
    for (int i = 0; i < 200; ++i) held[i] = out[i];
    __syncthreads();
    #pragma unroll
    for (int i = 0; i < 200; ++i) out[i] = held[199 - i] * held[i * 7 % 200];
}
"""
INDEXED = b"""
extern "C" __global__ void indexed(int* out, int at) {
    int held[300];
    for (int i = 0; i < 300; ++i) held[i] = out[i];
    out[0] = held[at];
}
"""
UNUSED = b'extern "C" __global__ void unused(int* out) { int nothing; out[0] = 1; }'


@pytest.fixture(name="nvrtc")
def nvrtc_fixture():
    require_nvrtc()


needs_nvrtc = pytest.mark.usefixtures("nvrtc")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty directory for `cubin`'s files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "groupwise"


@pytest.fixture
def compilations(monkeypatch) -> list:
    """What `cubin` has compiled since: the real compiler, counted, on a tiny source."""
    require_nvrtc()
    seen = []
    monkeypatch.setattr(compiler, "source_code", lambda: TINY)

    def counted(*arguments):
        seen.append(arguments)
        return compile_source(*arguments)

    monkeypatch.setattr(compiler, "compile_source", counted)
    return seen


def nvrtc_log(source, architecture):
    options = tuple(f"--ptxas-options={option}" for option in REPORT)
    return compile_source(source, architecture, options)[1]


def nvcc_log(source, architecture):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / SOURCE
        file.write_bytes(source)
        command = ["nvcc", "-cubin", f"-arch={architecture}", *OPTIONS, "-Werror", "all-warnings"]
        command += ["-Xptxas", ",".join(REPORT), file, "-o", file.with_suffix(".cubin")]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(result.stdout + result.stderr)
    return result.stdout + result.stderr


@pytest.fixture(params=["nvrtc", "nvcc"])
def compiler_log(request):
    """Source and architecture to the log of a compiler; RuntimeError if it refuses."""
    if request.param == "nvrtc":
        require_nvrtc()
        return nvrtc_log
    if not shutil.which("nvcc"):
        pytest.skip("nvcc is not on the PATH; NVRTC, which users have, is tested all the same")
    return nvcc_log


def entries(log):
    """Return what the log says of each kernel: bytes of stack and spills, registers."""
    found = {}
    for match in ENTRY.finditer(log):
        name, *numbers = match.groups()
        found[name] = tuple(map(int, numbers))
    return found


def check_log(log):
    """Fail at a warning, a spill or an array in memory; return the registers of each kernel."""
    assert "warning" not in log.lower(), log
    found = entries(log)
    assert found, f"no kernel in {log}"
    for name, (stack, stores, loads, _registers) in found.items():
        assert (stack, stores, loads) == (0, 0, 0), f"{name} keeps values in memory\n{log}"
    return {name: registers for name, (*_, registers) in found.items()}


def launched_kernels():
    """Return the kernels that rows.py launches, for all tiles, gradients and entropies."""
    names = set()
    fp32, bf16 = torch.float32, torch.bfloat16
    targets = torch.zeros(1, dtype=torch.int64)
    floats = torch.zeros(1)
    for with_entropy, (tile, gradient) in product(
        (False, True), ((fp32, fp32), (fp32, bf16), (bf16, bf16))
    ):
        plan = TilePlan(1, 8, 1, 8, tile, 1.0, with_entropy, (), -100)
        logits = torch.zeros(1, 8, dtype=tile)
        kernel_rows = rows.KernelRows(
            targets, plan, lambda launch, _device: names.add(launch.kernel)
        )
        kernel_rows.fold(logits, 0)
        kernel_rows.finish()
        of_entropy = floats if with_entropy else None
        backward = RowsForBackward(targets, floats, of_entropy, of_entropy, floats)
        launch, _out = rows.backward_launch(logits, 0, backward, plan, gradient)
        names.add(launch.kernel)
    return names


# ---- the source ---------------------------------------------------------------------------------


@pytest.mark.command
@each_architecture
def test_the_kernels_compile_without_warning_spill_or_array(
    compiler_log, architecture, record_property
):
    start = time.perf_counter()
    log = compiler_log(source_code(), architecture)
    record_property("seconds", time.perf_counter() - start)  # less than 10 for all: a bar, no test
    registers = check_log(log)
    assert set(registers) == launched_kernels()
    assert max(registers.values()) <= MOST_REGISTERS, registers


@pytest.mark.command
def test_what_is_looked_for_would_be_found(compiler_log):
    assert check_log(compiler_log(TINY, "sm_90")).keys() == {"tiny"}
    with pytest.raises((AssertionError, RuntimeError), match=r"(warning|error) #177-D"):
        check_log(compiler_log(UNUSED, "sm_90"))
    with pytest.raises(RuntimeError, match=r"Registers are spilled .* 'spilling'"):
        check_log(compiler_log(SPILLING, "sm_90"))
    with pytest.raises(AssertionError, match="indexed keeps values in memory"):
        check_log(compiler_log(INDEXED, "sm_90"))


@needs_nvrtc
def test_spills_would_be_found_by_their_numbers_too():
    log = compile_source(SPILLING, "sm_90", ("--ptxas-options=-v",))[1]
    ((_, stores, loads, registers),) = entries(log).values()
    assert stores > 0 and loads > 0 and registers == MOST_REGISTERS
    with pytest.raises(AssertionError, match="spilling keeps values in memory"):
        check_log(log)


def test_the_source_includes_no_header():
    assert not re.search(rb"#\s*include", source_code())


@needs_nvrtc
def test_an_error_in_the_source_is_raised_with_file_line_and_log():
    with pytest.raises(RuntimeError) as caught:
        compile_source(TINY + b"\nsyntax error;", "sm_90")
    message = str(caught.value)
    assert "could not compile logprobs.cu with --gpu-architecture=sm_90 --std=c++17" in message
    assert 'logprobs.cu(2): error: identifier "syntax" is undefined' in message


@needs_nvrtc
@pytest.mark.parametrize(
    ("architecture", "options", "log"),
    [
        ("sm_90", ("--no-such-option",), "unrecognized option --no-such-option found"),
        ("sm_90", ("-Xptxas=-v,-O3",), "Unknown option"),
        ("sm_1", (), "invalid value for --gpu-architecture"),
    ],
)
def test_options_that_nvrtc_refuses_are_an_error(architecture, options, log):
    with pytest.raises(RuntimeError, match=log):
        compile_source(TINY, architecture, options)


@needs_nvrtc
def test_machine_code_is_an_elf_file_for_cuda():
    code, log = compile_source(TINY, "sm_90")
    assert code.startswith(b"\x7fELF") and int.from_bytes(code[18:20], "little") == 190
    assert log == ""


def test_a_missing_nvrtc_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(RuntimeError, match=r"NVRTC .* missing .* install a CUDA build of torch"):
        cubin("sm_90")


# ---- the cache ----------------------------------------------------------------------------------

KEY = cache_key(b"source", "sm_90", (13, 0))


def test_the_key_depends_on_all_that_decides_the_code(monkeypatch):
    keys = {
        KEY,
        cache_key(b"source ", "sm_90", (13, 0)),
        cache_key(b"source", "sm_100", (13, 0)),
        cache_key(b"source", "sm_90", (13, 1)),
        cache_key(b"source", "sm_90", (1, 30)),
        cache_key(b"sources", "m_90", (13, 0)),  # the same bytes in a row
        cache_key(b"sourc", "esm_90", (13, 0)),
    }
    monkeypatch.setattr(compiler, "OPTIONS", (*OPTIONS, "--use_fast_math"))
    keys.add(cache_key(b"source", "sm_90", (13, 0)))
    assert len(keys) == 8


def test_code_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "kernels" / "some.cubin"
    write_cached(path, KEY, b"code")
    assert read_cached(path, KEY) == b"code"
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_cached(path, cache_key(b"another source", "sm_90", (13, 0))) is None


def flip(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:0], id="empty"),
        pytest.param(lambda content: content[:-1], id="the last byte lost"),
        pytest.param(lambda content: content[:60], id="only a head"),
        pytest.param(lambda content: content + b"\0", id="a byte more"),
        pytest.param(lambda content: flip(content, 0), id="another magic"),
        pytest.param(lambda content: flip(content, 30), id="another key"),
        pytest.param(lambda content: flip(content, 60), id="another digest"),
        pytest.param(lambda content: flip(content, -2), id="another code"),
    ],
)
def test_a_damaged_file_is_made_anew(cache, compilations, damage):
    code = cubin("sm_90")
    (path,) = cache.iterdir()
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert cubin("sm_90") == code
    assert len(compilations) == 2
    assert path.read_bytes() == content


def test_a_second_call_does_not_compile(cache, compilations):
    first = cubin("sm_90")
    assert cubin("sm_90") == first == compile_source(TINY, "sm_90")[0]
    assert len(compilations) == 1
    cubin("sm_80")
    assert len(compilations) == 2
    assert len(list(cache.iterdir())) == 2
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_a_file_with_no_code_is_none(tmp_path):
    write_cached(tmp_path / "empty.cubin", KEY, b"")
    assert read_cached(tmp_path / "empty.cubin", KEY) is None


@pytest.mark.usefixtures("cache")
def test_a_file_of_another_user_is_not_trusted(compilations, monkeypatch):
    code, uid = cubin("sm_90"), os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    assert cubin("sm_90") == code
    assert len(compilations) == 2


def test_a_directory_in_the_place_of_the_file_costs_only_time(cache, compilations):
    code = cubin("sm_90")
    (path,) = cache.iterdir()
    path.unlink()
    (path / "child").mkdir(parents=True)
    assert cubin("sm_90") == cubin("sm_90") == code
    assert len(compilations) == 3
    assert list(cache.iterdir()) == [path], "a failed write leaves nothing behind"


@contextmanager
def without_privileges():
    """Permissions mean nothing to root, so become another user for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)  # nobody; getuid, which tells a file's owner, stays 0
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read_is_none(tmp_path):
    path = tmp_path / "some.cubin"
    write_cached(path, KEY, b"code")
    path.chmod(0)
    with without_privileges():
        assert read_cached(path, KEY) is None


def test_a_directory_that_may_not_be_written_costs_nothing(tmp_path):
    tmp_path.chmod(0o500)
    with without_privileges():
        write_cached(tmp_path / "some.cubin", KEY, b"code")
        write_cached(tmp_path / "deeper" / "some.cubin", KEY, b"code")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "directory", ["/dev/null", "/proc/no such", "/" + "long" * 2000], ids=["file", "proc", "long"]
)
def test_a_nonsensical_cache_directory_costs_only_time(monkeypatch, compilations, directory):
    monkeypatch.setenv("XDG_CACHE_HOME", directory)
    assert cubin("sm_90") == cubin("sm_90")
    assert len(compilations) == 2


def test_a_write_that_fails_halfway_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(path, content):
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    write_cached(tmp_path / "some.cubin", KEY, b"code")
    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_only_when_it_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "some.cubin"
    write_cached(path, KEY, b"older code")
    replace, seen = Path.replace, []

    def watched_replace(unfinished, target):
        seen.append(target)
        assert read_cached(path, KEY) == b"older code"
        assert read_cached(unfinished, KEY) == b"code"
        return replace(unfinished, target)

    monkeypatch.setattr(Path, "replace", watched_replace)
    write_cached(path, KEY, b"code")
    assert seen == [path]
    assert read_cached(path, KEY) == b"code"


def test_the_cache_lies_where_the_xdg_specification_says(monkeypatch):
    monkeypatch.setenv("HOME", "/dwelling/of/someone")
    assert cache_directory({"XDG_CACHE_HOME": "/somewhere"}) == Path("/somewhere/groupwise")
    at_home = Path("/dwelling/of/someone/.cache/groupwise")
    assert cache_directory({}) == at_home
    assert cache_directory({"XDG_CACHE_HOME": ""}) == at_home
    assert cache_directory({"XDG_CACHE_HOME": "relative/cache"}) == at_home


def test_a_user_without_a_home_compiles_all_the_same(monkeypatch, compilations):
    def nobody(_uid):
        raise KeyError("no such user")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert cache_directory() is None
    assert cubin("sm_90") == cubin("sm_90")
    assert len(compilations) == 2
