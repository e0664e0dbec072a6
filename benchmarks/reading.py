"""Data files of a gigabyte, read into examples: the most memory, over what the examples need.

    python benchmarks/reading.py                  writes benchmarks/results/reading_cpu.json
    python benchmarks/reading.py --size 200       of 200 MB
    python benchmarks/reading.py --containers csv of one container

Made-up rows of the published format, of about 500 bytes and no two alike, are written to a
temporary folder and read in a process of their own. Its memory is looked at before, at its most,
and after a collection of garbage, when only the examples are left: the most, over what is left,
must not be above 2.
"""

import csv
import ctypes
import gc
import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from common import PeakMemory, arguments, held_mebibytes, in_a_process, write_result

from data.reading.readers import load_examples

MOST = 2.0  # the most memory while reading, over that of the examples
SMOKE_SIZE = 4  # MB
OPTIONS = ("CT", "MRI", "Ultrasound", "X-Ray")
FILLER = "it was taken on the second day and shows the same region in the same plane as before; "


def write_json(path: Path, rows: Iterator[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for number, row in enumerate(rows):
            stream.write((",\n" if number else "[\n") + json.dumps(row))
        stream.write("\n]\n")


def write_jsonl(path: Path, rows: Iterator[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def write_csv(path: Path, rows: Iterator[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(_row(0)))
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: Iterator[dict[str, str]]) -> None:
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(name, pyarrow.string()) for name in _row(0)])
    # not packed, or a file of a gigabyte would hold many times as many rows as the others
    with pyarrow.parquet.ParquetWriter(
        path, schema, compression="none", use_dictionary=False
    ) as writer:
        while batch := list(islice(rows, 10_000)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))


WRITERS = {
    "json": write_json,
    "jsonl": write_jsonl,
    "csv": write_csv,
    "parquet": write_parquet,
}


def rows_of(size: int) -> Iterator[dict[str, str]]:
    """Yield rows until their values have so many bytes."""
    number = written = 0
    while written < size:
        row = _row(number)
        yield row
        written += sum(map(len, row.values()))
        number += 1


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
    small = path.with_name(f"small_train{path.suffix}")
    WRITERS[path.suffix[1:]](small, rows_of(10_000))
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
    parser.add_argument("--size", type=int, default=1000, help="of the rows' values, in MB")
    parser.add_argument("--containers", nargs="+", choices=WRITERS, default=list(WRITERS))
    parser.add_argument("--child", type=Path, metavar="FILE", help="for its own use")
    args = parser.parse_args()
    if args.child:
        child(args.child)
        return
    found = {name: measured(name, args) for name in args.containers}
    if not args.smoke:
        command = f"python benchmarks/reading.py --size {args.size}"
        write_result(args.output, command, {"most_ratio": MOST, "containers": found})
        sys.exit(any(content["ratio"] > MOST for content in found.values()))


def measured(container: str, args: Namespace) -> dict[str, float]:
    """Return what it took to read one file."""
    size = (SMOKE_SIZE if args.smoke else args.size) * 1_000_000
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"made_up_train.{container}"
        WRITERS[container](path, rows_of(size))
        content = {"megabytes": round(path.stat().st_size / 1e6, 1)}
        content |= in_a_process(__file__, "--child", str(path))
    count = sum(1 for _ in rows_of(size))
    assert content["rows"] == count, f"{count:,} rows were written"
    print(f"{container}: {json.dumps(content)}, ratio wanted at most {MOST}", flush=True)
    return content


if __name__ == "__main__":
    main()
