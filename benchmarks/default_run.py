"""The default run, timed: `python train.py --seed 0`, 1 and 2, and what each of them learned.

    python benchmarks/default_run.py                  writes benchmarks/results/default_run.json

For each seed: wall time of the whole command, greedy held-out accuracy before and after, the worst
modality and question type, and the trained model's accuracy on the same questions with every pixel
at the processor's mean colour. Prints the table and says which of the limits below was missed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from data.prompts import prompt_template  # noqa: E402
from data.sources import load_split  # noqa: E402
from data.turns import TurnBuilder  # noqa: E402
from evaluation.asking.answerer import answer_all  # noqa: E402
from evaluation.measures.summary import summarize  # noqa: E402
from grpo.run.provenance import machine  # noqa: E402
from models import load_policy  # noqa: E402

LIMITS = {
    "accuracy after, at least": 0.90,
    "gain, at least": 0.35,
    "worst slice, at least": 0.65,
    "worst change of a slice, at least": 0.0,
    "blank image, at most": 0.35,
    "seconds, at most": 240.0,
}


class BlankImages:
    """A processor whose images are all blank: pixels 0, which is the mean colour normalised."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def encode(self, text: str, images: Any, **options: Any) -> Any:
        """Return the prompt with the same number of visual tokens and nothing to see."""
        return self._processor.encode(text, images, **options).blanked()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "default_run.json"
    )
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        runs = [one_run(seed, Path(folder) / f"seed-{seed}") for seed in given.seeds]
    result = {"command": "python train.py --seed SEED", **machine(), "cpu": cpu(), "runs": runs}
    result["limits"] = LIMITS
    given.output.write_text(json.dumps(result, indent=2) + "\n")
    for run in runs:
        print(
            f"seed {run['seed']}: {run['before']:.1%} -> {run['after']:.1%} in"
            f" {run['seconds']:.0f} s; worst slice {run['worst_slice']:.1%}"
            f" ({run['worst_slice_name']}), blank image {run['blank']:.1%}"
            + (f"; MISSED: {', '.join(run['missed'])}" if run["missed"] else "")
        )
    sys.exit(any(run["missed"] for run in runs))


def one_run(seed: int, directory: Path) -> dict[str, Any]:
    """Run the command and return what it did."""
    command = ["train.py", "--seed", str(seed), "--output-dir", str(directory)]
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, cwd=ROOT)
    seconds = time.perf_counter() - started
    evaluations = sorted((directory / "eval").glob("step-*.json"))
    before, after = (json.loads(evaluations[i].read_text()) for i in (0, -1))
    steps = [json.loads(line) for line in (directory / "metrics.jsonl").open()]
    checkpoint = sorted((directory / "checkpoints").glob("step-*"))[-1]
    run = {"seed": seed, "seconds": seconds, "steps": len(steps)}
    run |= {"before": before["overall"]["accuracy"], "after": after["overall"]["accuracy"]}
    run |= slices(before, after)
    run["seconds_per_step"] = sorted(step["time/step"] for step in steps)[len(steps) // 2]
    run["blank"] = blank_accuracy(checkpoint, directory)
    found = (
        run["after"],
        run["after"] - run["before"],
        run["worst_slice"],
        run["worst_change"],
        -run["blank"],
        -seconds,
    )
    wanted = [-x if "at most" in name else x for name, x in LIMITS.items()]
    names = list(LIMITS)
    run["missed"] = [names[i] for i, (x, y) in enumerate(zip(found, wanted, strict=True)) if x < y]
    return run


def slices(before: dict, after: dict) -> dict[str, Any]:
    """Return before and after per slice, and the worst ones."""
    table = {
        name: [before[axis][name]["accuracy"], after[axis][name]["accuracy"]]
        for axis in ("by_modality", "by_question_type")
        for name in after[axis]
    }
    worst = min(table, key=lambda name: table[name][1])
    return {
        "slices": table,
        "worst_slice_name": worst,
        "worst_slice": table[worst][1],
        "worst_change": min(end - start for start, end in table.values()),
    }


def blank_accuracy(checkpoint: Path, run: Path) -> float:
    """Return the trained model's accuracy on the same questions without anything to see."""
    card = json.loads((checkpoint / "groupwise.json").read_text())
    config = json.loads((run / "run.json").read_text())["config"]
    policy = load_policy(checkpoint)
    policy.processor = BlankImages(policy.processor)
    examples = load_split(config["eval_json"], part="eval", image_root=None).examples
    turns = TurnBuilder(prompt_template(card["mode"]), card["image_size"])
    limit = card["max_completion_tokens"]
    predictions = answer_all(
        policy, examples, turns, mode=card["mode"], max_completion_tokens=limit, progress=False
    )
    return summarize(predictions)["overall"]["accuracy"]


def cpu() -> dict[str, Any]:
    """Return the processor's name and the number of its cores this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return {"name": name, "cores": len(os.sched_getaffinity(0))}


if __name__ == "__main__":
    main()
