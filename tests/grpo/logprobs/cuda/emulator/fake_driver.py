"""Runs functions in processes whose CUDA driver is fake_driver.cpp, over the emulated kernels.

The real grpo/logprobs/cuda/driver.py and the real cuda.bindings run there, on tensors of the CPU.
What torch tells about CUDA must be replaced, since a CPU build of it knows none: see `pretend`.

As a program: imports a module once, then calls those of its functions that stdin names, each in a
fork of its own that has neither driver nor threads yet, and answers each with a line of JSON.
"""

import ctypes
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import torch

from tests.grpo.logprobs.cuda.emulator import HERE, Emulator
from tests.places import ROOT

KERNELS = ROOT / "grpo" / "logprobs" / "cuda" / "logprobs.cu"


class FakeDriverProcess:
    """A process beside this one that has the fake driver.

    Args:
        module: whose functions are to be called, importable from the root.
        folder: where its driver, its kernels and its cache lie.
    """

    def __init__(self, module: str, folder: Path) -> None:
        Emulator(KERNELS, build_dir=folder)
        (library,) = folder.glob("*.so")
        source, driver = HERE / "fake_driver.cpp", folder / "libcuda.so.1"
        flags = ("-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
        subprocess.run(["g++", *flags, source, "-o", driver], check=True)
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": _before("LD_LIBRARY_PATH", folder),
            "EMULATED_KERNELS": str(library),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PYTHONPATH": _before("PYTHONPATH", ROOT),
            "OMP_NUM_THREADS": "1",  # a fork must not inherit half a pool of threads
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.grpo.logprobs.cuda.emulator.fake_driver", module],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, function: str) -> None:
        """Call a function there; what it raises is raised here as AssertionError."""
        self._process.stdin.write(function + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        problem = json.loads(answer) if answer else "the process of the fake driver has ended"
        assert not problem, f"in the process of the fake driver:\n{problem}"

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


def _before(variable: str, *folders: Path) -> str:
    """Return a search path with ``folders`` in front."""
    return os.pathsep.join(filter(None, (*map(str, folders), os.environ.get(variable))))


class FakeDriver:
    """The driver of this process, from the tests' side."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        self._library.fake_calls.restype = ctypes.c_char_p

    def calls(self, name: str = "") -> list[str]:
        """Return the calls so far whose line begins with ``name``."""
        lines = self._library.fake_calls().decode().splitlines()
        return [line for line in lines if line.startswith(name)]

    def current_devices(self) -> list[int]:
        """Return the devices of the contexts on this thread's stack, the current one last."""
        return [self._library.fake_stack(at) for at in range(self._library.fake_stack_depth())]

    def fail(self, name: str, status: int) -> None:
        """Let all later calls of a function return ``status``; 0 takes it back."""
        self._library.fake_failure(name.encode(), status)


@contextmanager
def pretend(*, capturing: bool = False, stream: int = 0, device: int = 0) -> Iterator[None]:
    """Let torch say of CUDA what driver.py asks; a CPU build raises at each of these."""
    said = {
        "current_device": lambda: device,
        "device": lambda _number: nullcontext(),
        "current_stream": lambda _device: SimpleNamespace(cuda_stream=stream),
        "get_device_capability": lambda _number: (9, 0),
        "is_current_stream_capturing": lambda: capturing,
    }
    before = {name: getattr(torch.cuda, name) for name in said}
    for name, function in said.items():
        setattr(torch.cuda, name, function)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(torch.cuda, name, function)


def _problem_of(function) -> str:
    """Return the traceback of a function called in a fork, empty if it returns."""
    with tempfile.TemporaryFile("w+") as report:
        child = os.fork()
        if child == 0:
            try:
                function()
            except BaseException:
                report.write(traceback.format_exc())
                report.flush()
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        report.seek(0)
        return status and (report.read() or f"exit status {status}")


def main() -> None:
    module = importlib.import_module(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(_problem_of(getattr(module, line.strip()).over_there)), flush=True)


if __name__ == "__main__":
    main()
