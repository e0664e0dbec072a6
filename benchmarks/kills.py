"""Kills a training again and again, goes on with --resume, and compares with one never killed.

    python benchmarks/kills.py                        writes benchmarks/results/kills_cpu.json
    python benchmarks/kills.py --aims half_a_line ..  these moments alone, one kill each

SIGKILL at random moments, and at aimed ones: inside an append, between the lines of a step, before
and after a rename, while a folder is removed, while run.json is written, around the cut of a run
that goes on. After the last step of every run: each step exactly once in metrics.jsonl, its rows in
rollouts.jsonl, the same evaluations, weights and optimizer to the bit, and nothing left over.

Each start is a fork of this process, which has imported torch and computed nothing with it.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import grpo.run.directory  # noqa: E402
import process.lines  # noqa: E402
import process.storage  # noqa: E402
import train  # noqa: E402
from benchmarks.common import write_result  # noqa: E402

STEPS = 6
FLAGS = [
    *("--model", "tiny", "--train-json", "phantoms:CT", "--image-size", "56", "--device", "cpu"),
    *("--max-completion-tokens", "4", "--prompts-per-step", "1", "--group-size", "2"),
    *("--learning-rate", "1e-4", "--warmup-steps", "0", "--max-steps", str(STEPS)),
    *("--save-every", "2", "--keep-checkpoints", "1", "--eval-every", "3", "--eval-limit", "2"),
    *("--eval-json", "phantoms:CT"),
]
RANDOM = "random"


def die() -> NoReturn:
    """End this process as a power switch would, as far as a process can."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL cannot be caught")


def before(owner: Any, name: str, nth: int) -> None:
    """Die before the n-th call of a function."""
    _around(owner, name, nth, lambda _real, *_, **__: die())


def after(owner: Any, name: str, nth: int) -> None:
    """Die when the n-th call of a function has done its work."""
    _around(owner, name, nth, lambda real, *given, **named: (real(*given, **named), die()))


def half_a_line(nth: int) -> None:
    """Die inside an append, half of whose bytes are in the file."""

    def half(_real: Callable, file: Path, lines: bytes) -> None:
        with file.open("ab") as stream:
            stream.write(lines[: len(lines) // 2])
        die()

    _around(process.lines, "append_whole", nth, half)


def half_removed(nth: int) -> None:
    """Die inside the removal of a folder, one file of which is gone."""

    def half(_real: Callable, folder: Path, **_: Any) -> None:
        next(file for file in sorted(Path(folder).rglob("*")) if file.is_file()).unlink()
        die()

    _around(shutil, "rmtree", nth, half)


def half_a_file(nth: int) -> None:
    """Die inside the writing of a small file, such as run.json, half of which is there."""

    def half(real: Callable, file: Path, text: str, **named: Any) -> None:
        real(file, text[: len(text) // 2], **named)
        die()

    _around(Path, "write_text", nth, half)


def _around(owner: Any, name: str, nth: int, then: Callable) -> None:
    real, calls = getattr(owner, name), []

    def called(*given: Any, **named: Any) -> Any:
        calls.append(name)
        if len(calls) == nth:
            return then(real, *given, **named)
        return real(*given, **named)

    setattr(owner, name, called)


# name -> what to do in a process that shall die, and the most calls to wait for
AIMS: dict[str, tuple[Callable[[int], None], int]] = {
    "half_a_line": (half_a_line, 6),
    "between_the_lines_of_a_step": (lambda n: after(process.lines, "append_whole", 2 * n - 1), 4),
    "half_a_small_file": (half_a_file, 8),
    "before_a_rename": (lambda n: before(Path, "replace", n), 9),
    "after_a_rename": (lambda n: after(Path, "replace", n), 9),
    "before_a_flush": (lambda n: before(os, "fsync", n), 40),
    # the first removal of a process is that of the checkpoint that it tries to write
    "half_a_removal": (lambda n: half_removed(n + 1), 2),
    "before_the_cut": (lambda n: before(grpo.run.directory, "keep_steps", n), 2),
    "after_the_cut": (lambda n: after(grpo.run.directory, "keep_steps", n), 2),
}


def start(words: list[str], aim: str | None, nth: int, seconds: float, log: Path) -> int:
    """Run the command in a fork that dies as it is told to; return its status, below 0: killed."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            for number, stream in ((1, sys.stdout), (2, sys.stderr)):
                stream.flush()
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
            if aim is not None and aim != RANDOM:
                AIMS[aim][0](nth)
            status = train.main(words)
        finally:
            os._exit(status)
    if aim == RANDOM:
        time.sleep(seconds)
        if os.waitpid(child, os.WNOHANG) == (0, 0):
            os.kill(child, signal.SIGKILL)
        else:
            return 0
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def next_words(out: Path) -> list[str]:
    """Return what a user does next, as the messages say: go on, or start anew in the same place."""
    begun = (out / "run.json").is_file()
    if begun and any((out / "checkpoints").glob("step-*")):
        return ["--resume", str(out)]
    if begun:  # it ended before its first checkpoint: remove the directory
        shutil.rmtree(out)
    return [*FLAGS, "--output-dir", str(out)]


def kill_a_run(out: Path, aims: Iterator[tuple[str, int, float]], log: Path) -> list[str]:
    """Kill one run and go on with it until it is through; return at which moments it died."""
    died = []
    while not (out / "checkpoints" / f"step-{STEPS:06d}").is_dir():
        words = next_words(out)
        aim, nth, seconds = next(aims, (None, 0, 0.0))
        status = start(words, aim, nth, seconds, log)
        if status == -signal.SIGKILL:
            died.append(str(aim))
        elif status != 0:
            sys.exit(f"{words} ended with {status}, after {died}:\n{log.read_text()[-3000:]}")
    status = start(["--resume", str(out)], None, 0, 0.0, log)  # the end of a killed one, if need be
    if status != 0:
        sys.exit(f"the last --resume ended with {status}:\n{log.read_text()[-3000:]}")
    return died


def differences(run: Path, whole: Path) -> list[str]:
    """Return the names of what is not as in a run that was never killed, to the bit."""
    found = [
        name for name in ("metrics.jsonl", "rollouts.jsonl") if rows(run, name) != rows(whole, name)
    ]
    last = f"checkpoints/step-{STEPS:06d}"
    same = [
        f"{last}/model.safetensors",
        *(f"{last}/trainer/{n}.safetensors" for n in ("optimizer", "rng")),
    ]
    same += [f"eval/{file.name}" for file in (whole / "eval").iterdir()]
    found += [name for name in same if _content(run / name) != _content(whole / name)]
    left = {one.name for one in run.rglob(".*")} - {".lock"}
    return found + sorted(left)


def _content(file: Path) -> Any:
    if file.suffix != ".json":
        return file.read_bytes()
    return {k: v for k, v in json.loads(file.read_text()).items() if "second" not in k}


def rows(run: Path, name: str) -> list[dict[str, Any]]:
    """Return a file's lines without what the clock says."""
    clock = ("time/", "samples_per_second", "tokens_per_second")
    with (run / name).open(encoding="utf-8") as lines:
        return [
            {k: v for k, v in json.loads(line).items() if not k.startswith(clock)} for line in lines
        ]


def moments(seed: int, longest: float) -> Iterator[tuple[str, int, float]]:
    """Yield aims in turn, each second one a random moment, with its n-th call or its seconds."""
    draw, names = random.Random(seed), list(AIMS)
    for number in count():
        aim = RANDOM if number % 2 else names[number // 2 % len(names)]
        most = AIMS[aim][1] if aim in AIMS else 1
        yield aim, draw.randint(1, most), draw.uniform(0.0, longest)


def each_once(aims: list[str], nth: int) -> Iterator[tuple[str, int, float]]:
    """Yield these moments, at the n-th call each."""
    for aim in aims:
        yield aim, nth, 1.0


@contextmanager
def folder_of(given: Path | None) -> Iterator[Path]:
    """Give a folder to work in, which goes in the end unless it was named."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--aims", nargs="+", choices=AIMS, help="one kill at each of these instead")
    parser.add_argument("--nth", type=int, default=1, help="call at which those --aims kill")
    parser.add_argument("--folder", type=Path, help="to work in; default: one that goes again")
    default = ROOT / "benchmarks" / "results" / "kills_cpu.json"
    parser.add_argument("--output", type=Path, default=default, help="result file")
    given = parser.parse_args()
    with folder_of(given.folder) as folder:
        result = measure(folder, given.kills, given.seed, given.aims, given.nth)
    write_result(given.output, "python benchmarks/kills.py", result)
    print(json.dumps(result, indent=2))
    sys.exit(bool(result["differences"]))


def measure(
    folder: Path, kills: int, seed: int, aims: list[str] | None, nth: int
) -> dict[str, Any]:
    """Kill until there were so many kills, run after run; return what was found."""
    log, whole = folder / "log", folder / "whole"
    began = time.perf_counter()
    if start([*FLAGS, "--output-dir", str(whole)], None, 0, 0.0, log) != 0:
        sys.exit(log.read_text())
    longest = time.perf_counter() - began
    died: list[str] = []
    found, runs = [], 0
    wanted = kills if aims is None else len(aims)
    # one stream for all runs: each goes on with the moment at which the last one was through
    coming = moments(seed, longest) if aims is None else each_once(aims, nth)
    while len(died) < wanted:
        runs += 1
        out = folder / f"run-{runs}"
        died += kill_a_run(out, coming, log)
        found += [f"run {runs}: {name}" for name in differences(out, whole)]
        print(f"run {runs}: {len(died)} kills so far, differences: {found}", flush=True)
        if aims is not None:
            break
    return {
        "steps": STEPS,
        "flags": FLAGS,
        "runs": runs,
        "kills": len(died),
        "kills_by_moment": dict(sorted(Counter(died).items())),
        "seconds_of_a_whole_run": round(longest, 2),
        "differences": found,
    }


if __name__ == "__main__":
    main()
