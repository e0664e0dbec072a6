"""One training of benchmarks/long_run.py: after every step it writes down what the process holds.

    python benchmarks/long_run_process.py READINGS TURNS DONE GO  flags of train.py ..

READINGS gets one line of JSON a step. From step TURNS on the process tells the pipe DONE that a
step is over and waits for a byte from the pipe GO before it takes the next one. What is read here
costs no step of the run's own times, nothing of it is kept, and nothing large is made for it: a
list of all objects, 3 MB every tenth step, made the heap itself grow.
"""

import ctypes
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import train  # noqa: E402
from grpo.step_log import StepLog  # noqa: E402

PAGE = os.sysconf("SC_PAGE_SIZE")


class Readings:
    """The line that a step leaves, and the turn that it waits for."""

    def __init__(self, file: TextIO, turns: int, done: int, go: int) -> None:
        self._file, self._turns, self._done, self._go = file, turns, done, go
        self._ended = time.perf_counter()

    def take(self, number: int, seconds: float) -> None:
        """Write down the state after step `number`, which took so long; wait for the next turn."""
        row: dict[str, Any] = {"step": number, "seconds": seconds, **held()}
        # what lies between two steps: logs, bar, now and then an evaluation and a checkpoint
        row["between"] = time.perf_counter() - self._ended - seconds
        row["cpu_seconds"] = time.process_time()
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if number >= self._turns:
            os.write(self._done, b".")
            os.read(self._go, 1)
        self._ended = time.perf_counter()


class MallInfo(ctypes.Structure):
    """What glibc says of its heaps: malloc.h, struct mallinfo2."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks"),
        *("uordblks", "fordblks", "keepcost"),
    )]  # fmt: skip


LIBC = ctypes.CDLL(None)
LIBC.mallinfo2.restype = MallInfo


def held() -> dict[str, int]:
    """Return what this process has of the machine just now."""
    heap = LIBC.mallinfo2()
    return {
        "allocated_bytes": heap.uordblks + heap.hblkhd,  # tensors; what is freed is not in it
        "python_blocks": sys.getallocatedblocks(),  # objects, dicts, short strings ..
        "resident_bytes": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
        "open_files": len(list(Path("/proc/self/fd").iterdir())) - 1,  # the listing's own
        "threads": threading.active_count(),
        "system_threads": len(list(Path("/proc/self/task").iterdir())),
    }


def main() -> int:
    place, *numbers = sys.argv[1:5]
    with Path(place).open("w") as file:
        readings, record = Readings(file, *map(int, numbers)), StepLog.record

        def and_read(log: StepLog, number: int, *given: Any, **named: Any) -> dict[str, Any]:
            metrics = record(log, number, *given, **named)
            readings.take(number, metrics["time/step"])
            return metrics

        StepLog.record = and_read  # type: ignore[method-assign]
        return train.main(sys.argv[5:])


if __name__ == "__main__":
    sys.exit(main())
