"""Looking through all images before a run: the second start, which knows them, against the first.

    python benchmarks/image_check.py              writes benchmarks/results/image_check_cpu.json

Generated JPEG files of the size of OmniMedVQA's, in a folder of their own with a cache of its own.
Every repeat begins without a cache; both starts must give the same verdicts before their times
count.
"""

import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import arguments, seconds_of, spread, write_result
from PIL import Image

from data.image_files import ImageVerdict, examine_images
from data.verdict_cache import VerdictCache

FILES, SIZE = 4000, 512  # a side in pixels
LEAST_RATIO = 10.0  # the second start is to be at least so many times as fast


def write_images(folder: Path, count: int, size: int) -> list[Path]:
    """Write and return noisy gradients, one JPEG each, none like the other."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, size)[:, None, None] * np.ones((1, size, 3))
    files = []
    for number in range(count):
        noise = rng.integers(0, 55, (size, size, 3))
        file = folder / f"{number:05}.jpg"
        Image.fromarray((ramp + noise).astype(np.uint8)).save(file)
        files.append(file)
    return files


def start(files: list[Path]) -> dict[Path, ImageVerdict]:
    """Do what a command does with the images of its rows."""
    return examine_images(files, VerdictCache())


def main() -> None:
    """Measure, print and write."""
    parser = arguments(__doc__, "image_check_cpu.json")
    args = parser.parse_args()
    count, repeats = (60, 2) if args.smoke else (FILES, args.repeats)
    first: list[float] = []
    second: list[float] = []
    with TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        files = write_images(Path(folder), count, 64 if args.smoke else SIZE)
        for _ in range(repeats):
            shutil.rmtree(f"{folder}/cache", ignore_errors=True)
            found: list[dict[Path, ImageVerdict]] = []
            for seconds in (first, second):
                seconds.append(seconds_of(lambda found=found: found.append(start(files))))
            if found[0] != found[1] or None in {verdict.size for verdict in found[0].values()}:
                sys.exit("the two starts do not agree: no time is taken")
    ratio = sorted(first)[repeats // 2] / sorted(second)[repeats // 2]
    print(f"{count:,} images: first start {spread(first)}, second {spread(second)}")
    print(f"first / second: {ratio:.1f}, wanted at least {LEAST_RATIO:g}")
    if not args.smoke:
        content = {"files": count, "size": SIZE, "first": spread(first), "second": spread(second)}
        write_result(
            args.output, "python benchmarks/image_check.py", {**content, "ratio": round(ratio, 1)}
        )
        if ratio < LEAST_RATIO:
            sys.exit(1)


if __name__ == "__main__":
    main()
