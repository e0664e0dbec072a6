"""Which objectives matter on phantoms? Every preset, three seeds each, one budget of completions.

    python benchmarks/objectives.py                    writes results/objectives_cpu.json
    python benchmarks/objectives.py --presets gspo     runs one, beside what the file has
    python benchmarks/objectives.py --figure           draws docs/results/objectives.png from it
    python benchmarks/objectives.py --table            prints docs/objectives_compared.md's table

GRPO is `python train.py` as it is; a preset is the same with its file of configs/objectives. All
train on equally many completions (steps x prompts x G); a preset of two passes updates twice as
often on them, dynamic sampling throws others away beside them, and the exact gradient samples none:
it sums over the answers of each question. Greedy accuracy on all held-out questions, before and
after, and the reward on the way.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import ROOT

from evaluation.report.figures.shared import COLOURS, GREY, new_figure
from grpo.run.provenance import machine

RESULT = ROOT / "benchmarks" / "results" / "objectives_cpu.json"
FIGURE = ROOT / "docs" / "results" / "objectives.png"
# Beside GRPO as it is: what presets of two passes differ from, and what the exact gradient does;
# DAPO in so few steps that it draws about as many completions as the others do in 120; a KL that
# weighs much, by an estimator whose gradient is a KL's and by one whose gradient is not.
WITHOUT = {
    "grpo": [],
    "grpo_two_passes": ["--num-iterations", "2", "--beta", "0"],
    "grpo_no_think": ["--mode", "no_think"],
    "dapo_55": ["--config", "configs/objectives/dapo.toml", "--max-steps", "55"],
    "strong_k3": ["--beta", "0.5"],
    "strong_k1": ["--beta", "0.5", "--kl-estimator", "k1"],
}
PRESETS = (*WITHOUT, *sorted(path.stem for path in (ROOT / "configs/objectives").glob("*.toml")))
LOGGED = ("reward", "kl", "grad_norm", "clip_fraction", "zero_std_groups", "entropy")
# The figure: runs that have a colour of their own, and where the axis of accuracies begins.
TOLD_APART = ("dapo", "dapo_55", "grpo", "strong_k1", "strong_k3", "exact_no_think")
LOWEST = 85
EVERY = 10  # steps whose mean is one point of a curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--figure", action="store_true", help="draw what was measured, run nothing")
    parser.add_argument("--table", action="store_true", help="print what was measured, run nothing")
    parser.add_argument("--smoke", action="store_true", help="two steps of one seed, no file")
    given = parser.parse_args()
    if given.figure:
        draw(json.loads(RESULT.read_text())["runs"])
        return
    if given.table:
        print(table(json.loads(RESULT.read_text())["runs"]), end="")
        return
    if given.smoke:
        given.seeds, given.steps = [0], 2
    for name in given.presets:
        runs = [one_run(name, seed, given) for seed in given.seeds]
        print(line_of(name, runs))
        if not given.smoke:
            keep(runs)


def one_run(name: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Run the command and return what it learned."""
    with TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        command = ["train.py", "--seed", str(seed), "--max-steps", str(given.steps)]
        command += ["--output-dir", str(directory)]
        command += WITHOUT.get(name, ["--config", f"configs/objectives/{name}.toml"])
        if given.smoke:
            command += ["--eval-limit", "40"]
        subprocess.run([sys.executable, *command], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        files = sorted((directory / "eval").glob("step-*.json"))
        before, after = (json.loads(files[place].read_text())["overall"] for place in (0, -1))
        steps = [json.loads(line) for line in (directory / "metrics.jsonl").open()]
    return {
        "preset": name,
        "seed": seed,
        "steps": len(steps),
        # those that dynamic sampling throws away, and the listed answers of the exact gradient, too
        "completions": round(sum(s["samples_per_second"] * s["time/step"] for s in steps)),
        "n": after["n"],
        "before": before["accuracy"],
        "after": after["accuracy"],
        **{one: curve(steps, one) for one in LOGGED},
    }


def curve(steps: list[dict[str, Any]], name: str) -> list[float | None]:
    """Return a metric's means over so many steps each; None where it has no value, or is not."""
    points = []
    for start in range(0, len(steps), EVERY):
        found = [step.get(name) for step in steps[start : start + EVERY]]
        values = [value for value in found if value is not None]
        points.append(statistics.fmean(values) if values else None)
    return points


def keep(runs: list[dict[str, Any]]) -> None:
    """Put runs into the file, in place of those of the same preset and seed."""
    kept = json.loads(RESULT.read_text())["runs"] if RESULT.exists() else []
    new = {(run["preset"], run["seed"]) for run in runs}
    kept = [run for run in kept if (run["preset"], run["seed"]) not in new] + runs
    kept.sort(key=lambda run: (PRESETS.index(run["preset"]), run["seed"]))
    head = {"command": "python train.py --config configs/objectives/PRESET.toml --seed SEED"}
    RESULT.write_text(json.dumps({**head, **machine(), "runs": kept}, indent=1) + "\n")


def line_of(name: str, runs: list[dict[str, Any]]) -> str:
    after = [run["after"] for run in runs]
    spread = statistics.stdev(after) if len(after) > 1 else 0.0
    return (
        f"{name:<16} {runs[0]['before']:.1%} -> {statistics.fmean(after):.1%} +- {spread:.1%}"
        f" ({', '.join(f'{value:.1%}' for value in after)})"
    )


def by_accuracy(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the runs by name, the best mean first."""
    own = {name: [run for run in runs if run["preset"] == name] for name in PRESETS}
    means = {name: statistics.fmean(r["after"] for r in some) for name, some in own.items() if some}
    return {name: own[name] for name in sorted(means, key=lambda name: -means[name])}


def table(runs: list[dict[str, Any]]) -> str:
    """Return the Markdown table, the best mean first; the reward is a mean over the whole run."""
    lines = [
        "| run | accuracy | every seed | spread | reward on the way | completions |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for name, some in by_accuracy(runs).items():
        after = [100 * run["after"] for run in some]
        spread = f"{statistics.stdev(after):.1f}" if len(after) > 1 else ""
        reward = statistics.fmean(point for run in some for point in run["reward"])
        drawn = statistics.fmean(run["completions"] for run in some)
        lines.append(
            f"| {name} | {statistics.fmean(after):.1f} |"
            f" {', '.join(f'{value:.1f}' for value in after)} | {spread} | {reward:.2f} |"
            f" {drawn:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def draw(runs: list[dict[str, Any]]) -> None:
    """Draw mean and every seed's accuracy of each run, and its mean reward on the way."""
    own = by_accuracy(runs)
    figure = new_figure(10.0, 0.32 * len(own) + 1.6)
    left, right = figure.subplots(1, 2)
    colours = dict(zip(TOLD_APART, COLOURS, strict=True))
    for row, (name, some) in enumerate(own.items()):
        after = [100 * run["after"] for run in some]
        mean = statistics.fmean(after)
        colour = colours.get(name, GREY)
        if mean < LOWEST:
            left.text(LOWEST, row, f"← {mean:.1f}", color=colour, va="center")
        else:
            left.plot(after, [row] * len(after), "o", color=GREY, markersize=3)
            left.plot(mean, row, "|", color=colour, markersize=12, markeredgewidth=3)
        curves = zip(*(run["reward"] for run in some), strict=True)
        means = [statistics.fmean(points) for points in curves]
        places = [EVERY * (index + 1) for index in range(len(means))]
        style = {"label": name, "linewidth": 1.8} if name in TOLD_APART else {"linewidth": 0.6}
        right.plot(places, means, color=colour, **style)
    left.set_yticks(range(len(own)), list(own))
    left.set_ylim(len(own) - 0.5, -0.5)
    left.set_xlim(LOWEST - 0.5, 99)
    left.set_xlabel("held-out accuracy after the run, %: every seed, and their mean")
    right.set_xlabel("step; grey: the other runs")
    right.set_ylabel("reward, mean of the seeds")
    right.legend(fontsize=8, frameon=False)
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
