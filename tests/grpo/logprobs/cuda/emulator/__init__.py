"""Runs the CUDA kernels' source on the CPU: g++ compiles it as it is, threads are fibers.

The file that ships is compiled byte for byte, through `-include shim.h`, and takes the launches
that the driver would take (grpo.logprobs.cuda.launch). What only a GPU shows stays unseen: timing,
memory order between warps, flush-to-zero, and fused multiply-adds. A loop without end hangs the
test.
"""

import ctypes
import hashlib
import mmap
import os
import random
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from grpo.logprobs.cuda import compiler
from grpo.logprobs.cuda.launch import Launch

HERE = Path(__file__).resolve().parent
ORDERS = ("ascending", "descending", "random")
# fast-math would drop the NaN; a device knows no aliasing rules when it reads floats as a vector;
# a unique symbol would be one for all libraries; a fortified longjmp refuses another stack
FLAGS = (
    *("-std=c++17", "-O1", "-shared", "-fPIC", "-fno-fast-math", "-ffp-contract=off"),
    *("-fno-strict-aliasing", "-fno-gnu-unique", "-U_FORTIFY_SOURCE", f"-include{HERE / 'shim.h'}"),
)
KINDS = {
    ctypes.c_void_p: "p",
    ctypes.c_longlong: "q",
    ctypes.c_int: "i",
    ctypes.c_float: "f",
}
ENTRY_POINT = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^()]*\)\s*)?(\w+)\s*\('
)
DRIVER = """\
#include "{source}"
#include "{here}/fibers.h"

static const emulator::Kernel KERNELS[] = {{ {kernels} }};

// Returns 0, or 1 and says why in `message`.
extern "C" int emulated_launch(const char* name, int grid, int block, void** arguments,
                               const char* kinds, int order, unsigned seed, char* message,
                               int size) {{
    emulator::order = (emulator::Order)order;
    emulator::random_state = seed | 1;  // 0 would stay 0
    emulator::failure = {{message, size}};
    for (const emulator::Kernel& kernel : KERNELS)
        if (!strcmp(kernel.name, name))
            return !emulator::launch(kernel, grid, block, arguments, kinds);
    snprintf(message, size, "there is no kernel %s", name);
    return 1;
}}
"""


def require_gxx() -> None:
    """Skip the test where g++ is missing; fail it in CI, where nothing may skip silently."""
    if shutil.which("g++"):
        return
    reason = "the emulator needs g++ (apt install g++)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require_nvrtc() -> None:
    """Skip the test where NVRTC is missing; fail it in CI, where nothing may skip silently."""
    try:
        compiler._nvrtc()
    except RuntimeError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


class Emulator:
    """A launcher (grpo.logprobs.cuda.launch.Launcher) for tensors on the CPU.

    Args:
        source: the .cu file, or its text (a mutant, or a kernel written in a test).
        order: whose turn it is among the threads of a block, at the start and after every
            rendezvous, and among the blocks: "ascending", "descending" or "random".
        seed: of the order "random"; every launch draws another order.
        build_dir: where the compiled files lie; the same text and flags compile once.
        flags: more of g++, such as a sanitizer's.

    Attributes:
        digest: sha256 of the bytes compiled.
        launched: how often each kernel was launched.

    Raises:
        RuntimeError: the source does not compile (with the compiler's output), or a launch cannot
            be run to its end: wrong arguments, a deadlock, a shuffle with a thread that has exited.
    """

    def __init__(
        self,
        source: Path | str,
        *,
        order: str = "ascending",
        seed: int = 0,
        build_dir: Path,
        flags: tuple[str, ...] = (),
    ):
        content = source.read_bytes() if isinstance(source, Path) else source.encode()
        self.digest = hashlib.sha256(content).hexdigest()
        self.launched: Counter[str] = Counter()
        self._order = ORDERS.index(order)
        self._random = random.Random(seed)
        # dlopen knows a library by its path: another text needs another name.
        parts = (content, *(file.read_bytes() for file in sorted(HERE.glob("*.h"))))
        parts += (DRIVER.encode(), " ".join(FLAGS + flags).encode())
        stem = build_dir / hashlib.sha256(b"\0".join(parts)).hexdigest()
        if not isinstance(source, Path):
            source = stem.with_suffix(".cu")
            source.write_bytes(content)
        library = stem.with_suffix(".so")
        if not library.exists():
            _compile(source.resolve(), library, flags)
        # PyDLL keeps Python's lock during a launch: the fibers are the library's globals.
        self._launch = ctypes.PyDLL(str(library)).emulated_launch

    def __call__(self, launch: Launch, device: torch.device) -> None:
        """Run all blocks of a launch."""
        if torch.device(device).type != "cpu":
            raise ValueError(f"the emulator reads the CPU's memory, these tensors are on {device}")
        self.launched[launch.kernel] += 1
        kinds = "".join(KINDS.get(type(argument), "?") for argument in launch.arguments)
        message = ctypes.create_string_buffer(1024)
        failed = self._launch(
            launch.kernel.encode(),
            ctypes.c_int(launch.grid),
            ctypes.c_int(launch.block),
            launch.addresses(),
            kinds.encode(),
            ctypes.c_int(self._order),
            ctypes.c_uint(self._random.getrandbits(32)),
            message,
            ctypes.c_int(len(message)),
        )
        if failed:
            raise RuntimeError(message.value.decode())


def _gxx(*arguments: str | Path) -> str:
    command = ["g++", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{result.stderr}")
    return result.stdout


def _compile(source: Path, library: Path, flags: tuple[str, ...]) -> None:
    # The preprocessor spells out the kernels that macros make.
    kernels = ENTRY_POINT.findall(_gxx("-E", "-P", "-xc++", source))
    if not kernels:
        raise RuntimeError(f'{source} has no kernel: no extern "C" __global__ void name(')
    table = ", ".join(f"KERNEL({name})" for name in kernels)
    driver = library.with_suffix(".cpp")
    driver.write_text(DRIVER.format(source=source, here=HERE, kernels=table))
    unfinished = library.with_suffix(f".{os.getpid()}")  # another process may look for the library
    _gxx(*FLAGS, *flags, driver, "-o", unfinished)
    unfinished.replace(library)


def guarded_tensor(tensor: Tensor) -> Tensor:
    """Return a contiguous copy whose last byte is the last before a page that must not be touched.

    A read past the end kills the process: do this in one of its own.

    A page begins at a multiple of 16 bytes, so the last row of a tile ends with a whole vector:
    what is read past a tail lies in front of the next row, and shows as a NaN planted there.
    """
    page = mmap.PAGESIZE
    guard = -(-tensor.nbytes // page) * page
    memory = mmap.mmap(-1, guard + page)  # lives as long as the tensor
    copy = torch.frombuffer(
        memory, dtype=tensor.dtype, count=tensor.numel(), offset=guard - tensor.nbytes
    )
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.c_void_p(copy.data_ptr() + copy.nbytes)
    if libc.mprotect(address, ctypes.c_size_t(page), 0):  # 0: PROT_NONE
        raise OSError(ctypes.get_errno(), "mprotect failed")
    return copy.view(tensor.shape).copy_(tensor)
