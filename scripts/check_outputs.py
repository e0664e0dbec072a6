"""Check that an output directory holds what docs and later tools rely on.

    python scripts/check_outputs.py run RUN_DIR 3
    python scripts/check_outputs.py evaluation DIR 40
    python scripts/check_outputs.py protocol DIR 8

Names and keys are a contract: report.html, other people's notebooks and --resume read them.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

METRICS = {
    *("step", "reward", "reward/accuracy", "reward/format", "advantage/std", "kl", "entropy"),
    *("clip_fraction", "zero_std_groups", "completion_tokens", "truncated", "unique_completions"),
    *("logprob_gap/mean", "logprob_gap/max", "grad_norm", "learning_rate", "loss"),
    *("samples_per_second", "tokens_per_second", "time/data", "time/rollout", "time/reward"),
    *("time/reference", "time/update", "time/other", "time/step", "padding", "well_formed"),
    "bad_steps",
}
ROLLOUT = {
    *("step", "id", "index", "images", "modality", "question_type", "question", "options"),
    *("answer", "completion", "choice", "rewards", "reward", "advantage", "completion_tokens"),
    "truncated",
}
PREDICTION = {
    *("id", "images", "modality", "question_type", "dataset", "question", "options"),
    *("permutation", "answer", "completion", "choice", "lenient_choice", "well_formed", "correct"),
    *("lenient_correct", "completion_tokens", "truncated", "letter_probabilities", "control"),
    "letter_mass",
}
ACCURACY = {"accuracy", "n", "low", "high", "chance"}
PROTOCOL_CELL = {*ACCURACY, "model", "test", "part", "blank", "visual_gain", "well_formed"}
CHECKPOINT = {
    *("mode", "image_size", "prompt_template", "max_completion_tokens", "method", "step"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    checks = {"run": check_run, "evaluation": check_evaluation, "protocol": check_protocol}
    parser.add_argument(
        "kind", choices=checks, help="of train.py, evaluate.py, train.py --protocol"
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument(
        "count",
        type=int,
        help="steps that were trained, rows that were scored (protocol: per cell)",
    )
    given = parser.parse_args()
    checks[given.kind](given.directory, given.count)


def demand(truth: bool, message: str) -> None:
    """End the check with the message unless it holds."""
    if not truth:
        sys.exit(f"check_outputs: {message}")


def read_lines(path: Path, keys: Iterable[str]) -> list[dict]:
    """Return the objects of a .jsonl file, each of which must have these keys."""
    with path.open(encoding="utf-8") as lines:  # str.splitlines would cut at U+2028 in a text too
        rows = [json.loads(line) for line in lines]
    for number, row in enumerate(rows, start=1):
        demand(row.keys() >= set(keys), f"{path}:{number} lacks {sorted(set(keys) - row.keys())}")
    return rows


def check_run(directory: Path, steps: int) -> None:
    """One line of metrics per step, whole groups of rollouts, evaluations and a checkpoint."""
    json.loads((directory / "run.json").read_text(encoding="utf-8"))

    metrics = read_lines(directory / "metrics.jsonl", METRICS)
    demand([row["step"] for row in metrics] == list(range(1, steps + 1)), "steps are not 1, 2, ..")
    for row in metrics:
        numbers = {name: row[name] for name in METRICS if row[name] is not None}
        broken = [name for name, value in numbers.items() if not math.isfinite(value)]
        demand(not broken, f"step {row['step']}: {broken} are not finite")
    moved = any(row["grad_norm"] > 0 for row in metrics)
    demand(moved, "no step had a gradient: rewards agreed in every group, nothing was learned")

    rows = read_lines(directory / "rollouts.jsonl", ROLLOUT)
    demand({row["step"] for row in rows} == set(range(1, steps + 1)), "rollouts miss a step")
    size = 1 + max(row["index"] for row in rows)
    groups = [rows[start : start + size] for start in range(0, len(rows), size)]
    for group in groups:
        one = {(row["step"], row["id"]) for row in group}
        whole = [row["index"] for row in group] == list(range(size)) and len(one) == 1
        demand(whole, f"rollouts.jsonl: the group of {sorted(one)} is not whole")

    for step in (0, steps):
        path = directory / "eval" / f"step-{step:06d}.json"
        summary = json.loads(path.read_text(encoding="utf-8"))
        check_accuracies(summary, path)
        check_accuracies(summary["blank"], path)
        accuracies = [part["overall"]["accuracy"] for part in (summary, summary["blank"])]
        gain = summary["visual_gain"]["gain"]
        demand(math.isclose(gain, accuracies[0] - accuracies[1], abs_tol=1e-9), f"{path}: {gain}")
    best = json.loads((directory / "checkpoints" / "best.json").read_text(encoding="utf-8"))
    demand(best.keys() == {"step", "accuracy", "checkpoint"}, f"best.json has {list(best)}")
    check_checkpoint(directory / "checkpoints" / f"step-{steps:06d}", steps)
    print(f"{directory.name}: {len(metrics)} steps, {len(groups)} groups of {size}, complete")


def check_checkpoint(directory: Path, step: int) -> None:
    """Loads the way any user of transformers would load it, and says how it was trained."""
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    notes = json.loads((directory / "groupwise.json").read_text(encoding="utf-8"))
    demand(notes.keys() >= CHECKPOINT, f"groupwise.json lacks {CHECKPOINT - notes.keys()}")
    demand(notes["step"] == step, f"groupwise.json is of step {notes['step']}, not {step}")
    demand((directory / "trainer").is_dir(), f"{directory} has no trainer/: it cannot be resumed")
    pickles = [path.name for path in directory.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    demand(not pickles, f"{pickles} are pickles")
    loaded: Any = AutoModelForImageTextToText.from_pretrained(directory, output_loading_info=True)
    _, report = loaded
    left = {name: keys for name, keys in report.items() if keys}
    demand(not left, f"{directory} does not match the model: {left}")
    AutoTokenizer.from_pretrained(directory)


def check_accuracies(summary: dict, path: Path) -> None:
    """The three tables with an interval in each cell."""
    for name in ("overall", "by_modality", "by_question_type"):
        demand(name in summary, f"{path} has no {name}")
        cells = [summary[name]] if name == "overall" else list(summary[name].values())
        for cell in cells:
            demand(cell.keys() >= ACCURACY, f"{path}: {name} lacks {ACCURACY - cell.keys()}")
            demand(0 <= cell["low"] <= cell["accuracy"] <= cell["high"] <= 1, f"{path}: {cell}")
        total = sum(cell["n"] for cell in cells)
        demand(total == summary["overall"]["n"], f"{path}: {name} does not add up")


def check_evaluation(directory: Path, rows: int) -> None:
    """A summary and one prediction per row, and the two agree."""
    path = directory / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    check_accuracies(summary, path)
    predictions = read_lines(directory / "predictions.jsonl", PREDICTION)
    demand(len(predictions) == rows, f"{len(predictions)} predictions, not {rows}")
    correct = sum(row["correct"] for row in predictions) / len(predictions)
    stated = summary["overall"]["accuracy"]
    demand(math.isclose(correct, stated), f"the summary says {stated}, its predictions {correct}")
    print(f"{directory.name}: {rows} predictions, accuracy {correct:.1%}, complete")


def check_protocol(directory: Path, rows: int) -> None:
    """Every run and cell is there; each matrix agrees with the cells it was made from."""
    result = json.loads((directory / "protocol.json").read_text(encoding="utf-8"))
    demand(result["complete"], f"{directory}: missing {result['missing']}")
    count = 0
    for name, axis in result["axes"].items():
        matrices = {f"zero-shot-{mode}": matrix for mode, matrix in axis["zero_shot"].items()}
        for method, seeds in axis["methods"].items():
            matrices |= {f"{method}-seed{seed}": matrix for seed, matrix in seeds.items()}
        for folder, matrix in matrices.items():
            for cell in matrix["cells"]:
                place = f"{directory}: {name}, {folder}, {cell['model']} on {cell['test']}"
                demand(cell.keys() >= PROTOCOL_CELL, f"{place} lacks {PROTOCOL_CELL - cell.keys()}")
                demand(cell["n"] == rows, f"{place} has {cell['n']} rows, not {rows}")
                gain = cell["accuracy"] - cell["blank"]["accuracy"]
                demand(math.isclose(gain, cell["visual_gain"]["gain"], abs_tol=1e-9), place)
            cells = {(cell["model"], cell["test"]): cell["accuracy"] for cell in matrix["cells"]}
            count += len(cells)
            own = [value for (model, test), value in cells.items() if model == test]
            if own:
                mean = matrix["means"]["diagonal"]["macro"]
                demand(math.isclose(mean, sum(own) / len(own)), f"{directory}: {folder}: {mean}")
    summaries = sum(1 for _ in directory.glob("matrices/*/*/cells/*/*/summary.json"))
    demand(summaries == count, f"{summaries} cells on disk, {count} in protocol.json")
    page = (directory / "protocol.md").read_text(encoding="utf-8")
    demand("Differences of methods" in page, "protocol.md has no differences")
    print(f"{directory.name}: {len(result['runs'])} runs, {count} cells of {rows} rows, complete")


if __name__ == "__main__":
    main()
