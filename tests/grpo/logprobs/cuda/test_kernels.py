"""The shipped kernels on the CPU, in every order of threads: each check of kernel_checks.py."""

import hashlib
import re
from importlib import resources
from pathlib import Path

import pytest

from grpo.logprobs.cuda.compiler import SOURCE, source_code
from tests.grpo.logprobs.cuda.emulator import ENTRY_POINT, ORDERS, Emulator, require_gxx
from tests.grpo.logprobs.cuda.kernel_checks import (
    CHECKS,
    ISOLATED,
    all_outputs,
    assert_same_bits,
    run_check,
)

pytestmark = pytest.mark.command

SHIPPED = Path(str(resources.files("grpo.logprobs.cuda").joinpath(SOURCE)))


@pytest.fixture(scope="session")
def build_dir(tmp_path_factory) -> Path:
    require_gxx()
    return tmp_path_factory.mktemp("shipped")


# Where a thread reads has nothing to do with the order of the threads.
@pytest.mark.parametrize(
    ("check", "order"),
    [(check, order) for check in CHECKS for order in ORDERS[: 1 if check in ISOLATED else None]],
)
def test_the_shipped_kernels(check, order, build_dir):
    run_check(check, SHIPPED, order, build_dir)


def test_the_order_of_the_threads_changes_no_bit(build_dir):
    first, *others = (
        all_outputs(Emulator(SHIPPED, order=order, build_dir=build_dir)) for order in ORDERS
    )
    for outputs in others:
        for actual, expected in zip(outputs, first, strict=True):
            assert_same_bits(actual, expected)


def test_every_kernel_of_the_file_is_launched_and_no_other(build_dir):
    text = source_code().decode().replace("\\\n", "\n")
    written_out = set(ENTRY_POINT.findall(text)) - {"name"}  # a parameter of the two macros
    by_macros = set(re.findall(r"^(?:FORWARD|BACKWARD)\((\w+),", text, re.M))
    emulator = Emulator(SHIPPED, build_dir=build_dir)
    all_outputs(emulator)
    assert set(emulator.launched) == written_out | by_macros
    assert len(emulator.launched) == 11


def test_what_is_emulated_is_what_is_installed(build_dir, emulator):
    digest = hashlib.sha256(source_code()).hexdigest()
    assert Emulator(SHIPPED, build_dir=build_dir).digest == digest
    assert emulator.digest == digest


def test_the_file_does_not_know_who_compiles_it():
    text = source_code().decode()
    assert not re.search(r"^\s*#\s*(if|ifdef|ifndef|elif|include|undef|error)\b", text, re.M)
    assert not re.search(r"emulat|shim|__GNUC__|__CUDACC|__CUDA_ARCH__|__NVCC__", text, re.I)
