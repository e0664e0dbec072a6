"""Does GRPO take a shortcut through the text, and does a grounding term bring the image back?

    python scripts/shortcut_experiment.py --output-dir runs/shortcut

Phantoms with a planted mark on the right option (scripts/shortcut_data.py); for each arm and seed
one `train.py` run on them, evaluated with the blank-image control on held-out rows whose mark says
nothing. A policy that follows the mark is at chance there with no visual gain.

Writes result.json and, where matplotlib is installed, result.png. What is finished is skipped, what
was broken off goes on from its last checkpoint: start it again with the same flags.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from data.prompts import prompt_template  # noqa: E402
from data.sources import load_split  # noqa: E402
from data.turns import TurnBuilder  # noqa: E402
from evaluation.asking.answerer import answer_all  # noqa: E402
from grpo.run.best import find_best  # noqa: E402
from grpo.run.provenance import machine  # noqa: E402
from grpo.run.start_point import checkpoints_of, newest_checkpoint  # noqa: E402
from grpo.settings.toml_file import embedded_default  # noqa: E402
from models import load_policy  # noqa: E402
from process.owner import owned  # noqa: E402
from process.storage import remove_folder, write_json  # noqa: E402
from scripts.shortcut_data import MARKS, Mark, marked_letter, write_data  # noqa: E402

ARMS = ("none", "penalty", "scale")


def main(argv: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(argv)
    settings = {
        name: getattr(given, name)
        for name in (
            *("mark", "probability", "rows_per_cell", "prompts_per_step", "max_steps"),
            *("eval_limit", "weight"),
        )
    }
    _check_settings(given.output_dir, settings)
    data = given.output_dir / "data"
    train, test = write_data(data, given.mark, given.probability, given.rows_per_cell)
    runs = []
    for seed in given.seeds:  # a seed is complete before the next one begins
        for arm in given.arms:
            directory = given.output_dir / f"{arm}-seed{seed}"
            flags = [*arm_flags(arm, given.weight), "--seed", str(seed)]
            flags += ["--train-json", str(train), "--eval-json", str(test)]
            flags += ["--image-root", str(data), "--max-steps", str(given.max_steps)]
            flags += ["--prompts-per-step", str(given.prompts_per_step)]
            flags += ["--eval-every", str(max(1, given.max_steps // 4))]
            train_arm(directory, [*flags, "--eval-limit", str(given.eval_limit)], given.max_steps)
            runs.append({"arm": arm, "seed": seed, **outcome(directory, test, data, given.mark)})
            result = {"settings": settings, **machine(), "arms": summary(runs), "runs": runs}
            write_json(given.output_dir / "result.json", result)
            print(_line(runs[-1]), flush=True)
    draw(result, given.output_dir / "result.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--max-steps", type=int, default=200)
    parser.add_argument("--prompts-per-step", type=int, default=32, help="of train.py")
    parser.add_argument("--mark", choices=MARKS, default="period", help="how an option is marked")
    parser.add_argument(
        "--probability", type=float, default=0.9, help="that the mark is right, in training"
    )
    parser.add_argument("--weight", type=float, default=1.0, help="--grounding-weight of penalty")
    parser.add_argument("--rows-per-cell", type=int, help="of modality x question type")
    parser.add_argument("--eval-limit", type=int, default=0, help="held-out rows; 0: all 800")
    return parser


def _check_settings(directory: Path, settings: dict[str, Any]) -> None:
    """Write the settings, or refuse to mix runs of different ones."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "settings.json"
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != settings:
        sys.exit(f"error: {file} has other settings: repeat its flags, or name another directory")
    write_json(file, settings)


def arm_flags(arm: str, weight: float) -> list[str]:
    """Return an arm's flags on top of the embedded default's, which are spelled out.

    train.py loads configs/phantoms.toml by itself only where no data is named.
    """
    flags = ["--model", "tiny", "--config", str(embedded_default()), "--grounding", arm]
    flags += ["--save-every", "50", "--keep-checkpoints", "1"]
    return [*flags, "--grounding-weight", str(weight)] if arm == "penalty" else flags


def train_arm(directory: Path, flags: Sequence[str], steps: int) -> None:
    """Run train.py to its last step: not at all, from a checkpoint or from the beginning."""
    if (directory / "checkpoints" / f"step-{steps:06d}").is_dir():
        print(f"{directory.name}: done before", flush=True)
        return
    if checkpoints_of(directory):
        flags = ["--resume", str(directory)]
    else:
        with owned(directory, temporary=True):  # no other process may be at work on it
            remove_folder(directory)  # it ended before its first checkpoint
        flags = [*flags, "--output-dir", str(directory)]
    subprocess.run([sys.executable, str(ROOT / "train.py"), *flags], check=True, cwd=ROOT)


def outcome(directory: Path, test: Path, image_root: Path, mark: Mark) -> dict[str, Any]:
    """Return a finished run's evaluations, and how often its last answers follow the mark."""
    evaluations = []
    for file in sorted((directory / "eval").glob("step-*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        entry = {"step": int(file.stem.split("-")[1]), "accuracy": found["overall"]["accuracy"]}
        entry["blank"] = found["blank"]["overall"]["accuracy"]
        evaluations.append(entry | {"visual_gain": found["visual_gain"]["gain"]})
    best = find_best(directory)
    return {
        "evaluations": evaluations,
        **{name: evaluations[-1][name] for name in ("accuracy", "blank", "visual_gain")},
        "best_step": None if best is None else best.step,
        **follows_mark(newest_checkpoint(directory), test, image_root, mark),
    }


def follows_mark(checkpoint: Path, test: Path, image_root: Path, mark: Mark) -> dict[str, float]:
    """Return the share of held-out questions answered with the marked option, seen and blind."""
    card = json.loads((checkpoint / "groupwise.json").read_text(encoding="utf-8"))
    split = load_split([str(test)], part="eval", image_root=image_root)
    turns = TurnBuilder(prompt_template(card["mode"]), card["image_size"])
    policy = load_policy(checkpoint)
    shares = {}
    for name, control in (("follows_mark", None), ("follows_mark_blank", "blank")):
        answers = answer_all(
            policy,
            split.examples,
            turns,
            mode=card["mode"],
            max_completion_tokens=card["max_completion_tokens"],
            batch_size=256,
            control=control,
        )
        shares[name] = fmean(item.choice == marked_letter(item.options, mark) for item in answers)
    return shares


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Return per arm and number the mean over seeds, the lowest and the highest."""
    names = ("accuracy", "blank", "visual_gain", "follows_mark", "follows_mark_blank")
    arms = dict.fromkeys(run["arm"] for run in runs)
    table = {}
    for arm in arms:
        values = {name: [run[name] for run in runs if run["arm"] == arm] for name in names}
        table[arm] = {name: [fmean(v), min(v), max(v)] for name, v in values.items()}
    return table


def _line(run: dict[str, Any]) -> str:
    return (
        f"{run['arm']}, seed {run['seed']}: accuracy {run['accuracy']:.1%}, blank"
        f" {run['blank']:.1%}, visual gain {100 * run['visual_gain']:+.1f} points, follows the"
        f" mark {run['follows_mark']:.1%} (blank {run['follows_mark_blank']:.1%})"
    )


def draw(result: dict[str, Any], file: Path) -> None:
    """Write the figure: held-out accuracy, blank accuracy and their difference over the steps."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no figure: it needs matplotlib (pip install matplotlib)")
        return
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = (
        ("accuracy", "held-out accuracy"),
        ("blank", "images blank"),
        ("visual_gain", "visual gain"),
    )
    for axes, (name, title) in zip(figure.subplots(1, 3, sharex=True), panels, strict=True):
        for color, arm in enumerate(result["arms"]):
            for number, run in enumerate(r for r in result["runs"] if r["arm"] == arm):
                steps = [entry["step"] for entry in run["evaluations"]]
                values = [100 * entry[name] for entry in run["evaluations"]]
                label = arm if number == 0 else None
                axes.plot(steps, values, color=f"C{color}", label=label, alpha=0.8)
        axes.set(title=title, xlabel="step", ylabel="points" if name == "visual_gain" else "%")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, title="grounding", loc="outside right upper")
    figure.savefig(file, dpi=150)
    print(f"figure: {file}")


if __name__ == "__main__":
    main()
