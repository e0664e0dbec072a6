"""The C library's heap keeps what is freed, as asked, until it is told to give it back."""

import json
import platform
import subprocess
import sys

import pytest

from process import allocator
from process.allocator import give_back_freed_memory, keep_freed_memory
from tests.places import ROOT

# A process of its own: what a heap was told holds for the life of the process.
HEAP = """
import json, os
from pathlib import Path
from process.allocator import give_back_freed_memory, keep_freed_memory

def mebibytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

told = keep_freed_memory()
before = mebibytes()
blocks = [b"x" * 2**20 for _ in range(100)]
full = mebibytes()
del blocks[:-1]  # the last one lies above all others
freed = mebibytes()
gave, after = give_back_freed_memory(), mebibytes()
print(json.dumps([told, gave, *(n - before for n in (full, freed, after))]))
"""


@pytest.mark.command
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_freed_memory_stays_until_it_is_given_back():
    run = subprocess.run(
        [sys.executable, "-c", HEAP], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told, gave, full, freed, after = json.loads(run.stdout)
    assert told and gave
    assert full > 90 and freed > 90  # MiB more than before
    assert after < 20


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_a_c_library_without_such_a_heap_is_left_alone(monkeypatch, error):
    def absent(_name):
        raise error

    monkeypatch.setattr(allocator.ctypes, "CDLL", absent)
    assert not keep_freed_memory()
    assert not give_back_freed_memory()
