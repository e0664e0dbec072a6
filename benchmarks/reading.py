"""A JSON list of a gigabyte, read into examples: the most memory, over what the examples need.

    python benchmarks/reading.py                  writes benchmarks/results/reading_cpu.json
    python benchmarks/reading.py --size 200       of 200 MB

Made-up rows of the published format, of about 500 bytes and no two alike, are written to a
temporary folder and read in a process of their own. Its memory is looked at before, at its most,
and after a collection of garbage, when only the examples are left: the most, over what is left,
must not be above 2.
"""

import ctypes
import gc
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import PeakMemory, arguments, held_mebibytes, in_a_process, write_result

from data.reading.readers import load_examples

MOST = 2.0  # the most memory while reading, over that of the examples
SMOKE_SIZE = 4  # MB
OPTIONS = ("CT", "MRI", "Ultrasound", "X-Ray")
FILLER = "it was taken on the second day and shows the same region in the same plane as before; "


def write_rows(path: Path, size: int) -> int:
    """Write a list of so many bytes, a row at a time; return how many rows it has."""
    number = written = 0
    with path.open("w", encoding="utf-8") as stream:
        stream.write("[\n")
        while written < size:
            text = (",\n" if number else "") + json.dumps(_row(number))
            written += stream.write(text)
            number += 1
        stream.write("\n]\n")
    return number


def _row(number: int) -> dict[str, str]:
    options = ", ".join(
        f"{a}) {name} of case {number}" for a, name in zip("ABCD", OPTIONS, strict=True)
    )
    return {
        "image": f"made_up/series-{number // 100:06d}/slice-{number:09d}.png",
        "problem": f"This is image {number}: {FILLER * 3}which modality is it? {options}",
        "solution": f"<answer> {'ABCD'[number % 4]} </answer>",
    }


def child(path: Path) -> None:
    """Read and print what it took, as JSON."""
    small = path.with_name("small_train.json")
    write_rows(small, 10_000)
    load_examples(small, path.parent)  # what is loaded and kept once
    gc.collect()
    before, peak = held_mebibytes(), PeakMemory(torch.device("cpu"))
    begun = time.process_time()
    examples = load_examples(path, path.parent)
    seconds, most = time.process_time() - begun, peak.mebibytes()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free goes back to the system
    held = held_mebibytes() - before
    found = {"rows": len(examples), "examples_mebibytes": round(held, 1)}
    found |= {"most_mebibytes": round(most, 1), "ratio": round(most / held, 3)}
    print(json.dumps(found | {"seconds": round(seconds, 1)}))


def main() -> None:
    """Measure, print and write."""
    parser = arguments(__doc__, "reading_cpu.json")
    parser.add_argument("--size", type=int, default=1000, help="of the file, in MB")
    parser.add_argument("--child", type=Path, metavar="FILE", help="for its own use")
    args = parser.parse_args()
    if args.child:
        child(args.child)
        return
    size = SMOKE_SIZE if args.smoke else args.size
    with TemporaryDirectory() as folder:
        path = Path(folder) / "made_up_train.json"
        count = write_rows(path, size * 1_000_000)
        content = {"megabytes": round(path.stat().st_size / 1e6, 1)}
        content |= in_a_process(__file__, "--child", str(path))
    assert content["rows"] == count, f"{count:,} rows were written"
    print(json.dumps(content, indent=2))
    print(f"ratio {content['ratio']}, wanted at most {MOST}")
    if not args.smoke:
        command = f"python benchmarks/reading.py --size {args.size}"
        write_result(args.output, command, {"most_ratio": MOST, **content})
        sys.exit(content["ratio"] > MOST)


if __name__ == "__main__":
    main()
