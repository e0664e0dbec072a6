"""Rows and images that nobody should publish, read as a command reads them: how each one ends.

    python benchmarks/fuzz.py                     writes benchmarks/results/fuzz_cpu.json

1,000 files of rows with fields of up to 6 MB, and 500 images, drawn from seeds, go in one child
process through what a run does with them: rows are read, options compared, a prompt is filled in;
images are checked, decoded and processed. Counted is what came of each, by its message. Anything
but an example, a named bad row, a ValueError or an image's verdict is a failure, and so is one
input of more than 60 s of a core's time or of more than 2 GiB of memory.
"""

import json
import os
import random
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import ROOT, arguments, peak_mebibytes, write_result

from benchmarks.fuzz_inputs import fuzzed_image, rows_file
from data.image_files import examine_images
from data.images import load_image
from data.options import keeps_order, same_option
from data.prompts import prompt_template, render_prompt
from data.reading.readers import read_examples
from data.verdict_cache import VerdictCache

ROWS, IMAGES, LONGEST = 1000, 500, 6_000_000
MOST_SECONDS, MOST_MEBIBYTES = 60.0, 2048.0
Outcome = str


def read_rows(path: Path) -> Outcome:
    """Return what came of a file of rows."""
    try:
        examples, bad_rows = read_examples(path, path.parent, skip_bad_rows=True)
    except ValueError as error:
        return f"file: {kind_of(str(error))}"
    for example in examples:
        keeps_order(example.options)
        assert all(map(same_option, example.options))
        render_prompt(
            prompt_template("think"), example.question, example.options, example.form
        ).encode()
    return f"row: {kind_of(bad_rows[0].reason)}" if bad_rows else "read"


def read_image(path: Path) -> Outcome:
    """Return what came of an image: the check's verdict, which decoding it again must share."""
    verdict = examine_images([path], VerdictCache())[path]
    try:
        image = load_image(path, 384)
    except ValueError as error:
        assert verdict.size is None, f"{path}: the check took it, then {error}"
        return kind_of(verdict.reason)
    assert verdict.size is not None and image.size == (384, 384), path
    return "decoded"


def kind_of(reason: str) -> str:
    """Return a message without what is the input's own: names, numbers, quoted text.

    >>> kind_of("is 9000 x 9000 pixels, 81,000,000 in all: an image of more than 67,108,864 is")
    'is N x N pixels'
    """
    text = re.sub(r"data file \S+ ", "", reason)
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "..", text)
    text = re.sub(r"/[\w/.-]+", "PATH", text)
    text = re.sub(r"0x[0-9a-f]+|\d[\d,]*", "N", text)
    text = re.split(r"[:;,\[]| \(row| in all", text.replace("Error: ", "Error - "))[0]
    return text.encode("ascii", "backslashreplace").decode()[:70].strip()


def child(kind: str, first: int, count: int) -> None:
    """Read the inputs of so many seeds and print each one's outcome, time and memory as JSON."""
    make, read = (_rows, read_rows) if kind == "rows" else (_image, read_image)
    with TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        for seed in range(first, first + count):
            path = Path(folder) / f"{seed}_train.{'json' if kind == 'rows' else 'png'}"
            path.write_bytes(make(seed))
            Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
            begun = time.process_time()
            outcome = read(path)
            seconds = time.process_time() - begun
            found = {"outcome": outcome, "seconds": seconds, "mebibytes": peak_mebibytes()}
            print(json.dumps(found), flush=True)
            path.unlink()


def _rows(seed: int) -> bytes:
    return rows_file(random.Random(seed), LONGEST)


def _image(seed: int) -> bytes:
    return fuzzed_image(random.Random(seed))[1]


def outcomes(kind: str, count: int) -> dict[str, Any]:
    """Return what a child process found, counted; it may hang or die without harm to this one."""
    command = [sys.executable, __file__, "--child", kind, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or len(lines) != count:
        sys.exit(f"{kind}: input {len(lines)} ended the process ({done.returncode}): {done.stderr}")
    counted = Counter(line["outcome"] for line in lines)
    slowest = max(line["seconds"] for line in lines)
    largest = max(line["mebibytes"] for line in lines)
    return {
        "inputs": count,
        "slowest_seconds": round(slowest, 2),
        "largest_mebibytes": round(largest),
        "outcomes": dict(counted.most_common()),
    }


def main() -> None:
    """Fuzz, print and write."""
    parser = arguments(__doc__, "fuzz_cpu.json")
    parser.add_argument("--child", nargs=2, metavar=("KIND", "COUNT"), help="for its own use")
    args = parser.parse_args()
    if args.child:
        limit = int(4 * MOST_SECONDS * int(args.child[1]))
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        child(args.child[0], 0, int(args.child[1]))
        return
    counts = {"rows": 8, "images": 8} if args.smoke else {"rows": ROWS, "images": IMAGES}
    found = {kind: outcomes(kind, count) for kind, count in counts.items()}
    for kind, result in found.items():
        print(f"{kind}: {json.dumps(result, indent=2)}")
    if not args.smoke:
        bounds = {"longest_field": LONGEST, "most_seconds": MOST_SECONDS}
        bounds["most_mebibytes"] = MOST_MEBIBYTES
        write_result(args.output, "python benchmarks/fuzz.py", bounds | found)
    for kind, result in found.items():
        if result["slowest_seconds"] > MOST_SECONDS or result["largest_mebibytes"] > MOST_MEBIBYTES:
            sys.exit(f"{kind}: an input took more than {MOST_SECONDS} s or {MOST_MEBIBYTES} MiB")


if __name__ == "__main__":
    main()
