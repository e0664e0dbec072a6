"""The kernels on a GPU: one module per device, launched on torch's current stream.

Works on any thread (autograd runs backwards on its own) and inside CUDA graph capture, once the
module is loaded: loading while capturing is refused with the way out.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from grpo.logprobs.cuda.compiler import cubin
from grpo.logprobs.cuda.launch import KERNELS, Launch, Launcher

_LEGACY_STREAM = 1  # CU_STREAM_LEGACY

_lock = threading.Lock()
_modules: dict[int, "_Module"] = {}  # by the device's number; a process's contexts live as long


# Needs a GPU: without one, tests run what follows in a process of its own whose driver is made up.
def launcher(device: torch.device) -> Launcher:  # pragma: no cover
    """Return what runs launches on ``device``, compiled and loaded.

    Raises:
        RuntimeError: NVRTC, its bindings or the driver are missing or refuse, with their log.
    """
    number = torch.cuda.current_device() if device.index is None else device.index
    with _lock:  # two threads at their first call would load two modules
        if number not in _modules:
            _modules[number] = _Module(number)
        return _modules[number]


class _Module:  # pragma: no cover - as above
    """logprobs.cu in one device's primary context, the one that torch uses."""

    def __init__(self, number: int) -> None:
        self._driver = _import_driver()
        self._call("cuInit", 0)
        with torch.cuda.device(number):
            capturing = torch.cuda.is_current_stream_capturing()
        if capturing:
            raise RuntimeError(
                "the log-prob kernels are not loaded yet, and loading cannot be captured in a CUDA"
                " graph: call token_logprobs once before the capture"
            )
        device = self._call("cuDeviceGet", number)
        self._context = self._call("cuDevicePrimaryCtxRetain", device)
        major, minor = torch.cuda.get_device_capability(number)
        code = cubin(f"sm_{major}{minor}")
        with self._current_context():
            module = self._call("cuModuleLoadData", code)
            # all of them: a kernel that is first looked up inside a capture would be loaded there
            self._functions = {
                name: self._call("cuModuleGetFunction", module, name.encode()) for name in KERNELS
            }

    def __call__(self, launch: Launch, device: torch.device) -> None:
        """Put a launch on the current stream of its device."""
        addresses = launch.addresses()  # kept alive until the driver has copied the values
        with self._current_context():
            self._call(
                "cuLaunchKernel",
                self._functions[launch.kernel],
                *(launch.grid, 1, 1),
                *(launch.block, 1, 1),
                0,  # bytes of shared memory beyond the kernel's own
                # torch's default stream is 0, which the bindings may be told to read as another
                torch.cuda.current_stream(device).cuda_stream or _LEGACY_STREAM,
                ctypes.addressof(addresses),
                0,
            )

    @contextmanager
    def _current_context(self) -> Iterator[None]:
        """Make our context the thread's; a thread that never used CUDA has none yet."""
        if int(self._call("cuCtxGetCurrent")) == int(self._context):
            yield
            return
        self._call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent")

    def _call(self, name: str, *arguments: Any) -> Any:
        """Return what a driver call gives; one that fails raises RuntimeError with its name."""
        status, *values = getattr(self._driver, name)(*arguments)
        if status != self._driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"{name} failed: {status.name}")
        return values[0] if values else None


def _import_driver() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise RuntimeError(
            f"cuda.bindings is missing ({error}): install a CUDA build of torch 2.10 or later,"
            " which brings it"
        ) from error
    return driver
