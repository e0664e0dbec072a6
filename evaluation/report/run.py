"""The sections of a run's report, from the files of its directory."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from evaluation.pictures import to_png
from evaluation.report_files import (
    edge_groups,
    image_png,
    read_evaluations,
    read_json,
    read_lines,
)
from evaluation.report_html import (
    Cell,
    folded,
    heading,
    paragraph,
    picture,
    preformatted,
    section,
    table,
)
from evaluation.report_tables import before_after_table, interval, percent, slices_table
from evaluation.training_curves import training_curves

_FACTS = ("method", "mode", "model", "train_json", "eval_json", "group_size", "learning_rate")
_UNTIMED = ("time/", "_per_second")


def run_sections(directory: Path, draw: Callable[[Callable[[], str]], str]) -> list[str]:
    """Return the HTML sections of a run.

    Args:
        directory: with run.json; every other file may be missing.
        draw: calls what makes a picture, or says why there is none.

    Raises:
        ValueError: a file that cannot be read; it is named.
    """
    run = read_json(directory / "run.json")
    metrics = list(read_lines(directory / "metrics.jsonl"))
    evaluations = read_evaluations(directory)
    return [
        section("The run", _facts(run, metrics)),
        section("Alarms", _alarms(directory)),
        section("Held-out questions, greedy", _change(evaluations)),
        section("Curves", _curves(metrics, evaluations, draw)),
        section("First and last step", _edge_metrics(metrics)),
        section("Evaluations", _evaluations(evaluations)),
        section("Rollouts", *(_group(rows) for rows in edge_groups(directory))),
        section("Profile", _profile(directory)),
        section("All settings", _settings(run)),
    ]


def _facts(run: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> str:
    config = run["config"]
    done = f"{metrics[-1]['step'] if metrics else 0:,}"
    rows = [[name.replace("_", " "), _plain(config[name])] for name in _FACTS if name in config]
    rows.append(["steps", f"{done} of {run['total_steps']:,}" if "total_steps" in run else done])
    rows += [
        [f"resumed after step {note['from_step']:,}", _changes(note["changed"])]
        for note in run.get("resumed", [])
    ]
    versions = run.get("versions", {})
    rows.append(["versions", ", ".join(f"{name} {value}" for name, value in versions.items())])
    rows.append(["device", f"{config.get('device')}, {config.get('dtype')}"])
    return table(["", ""], rows, text_columns=(0, 1))


def _changes(changed: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_plain(value)}" for name, value in changed.items()) or "as it was"


def _alarms(directory: Path) -> str:
    rows = read_lines(directory / "alarms.jsonl")
    return "\n".join(
        paragraph(f"step {row.get('step')}: {row.get('text', row)}", "alarm") for row in rows
    )


def _change(evaluations: Mapping[int, Mapping[str, Any]]) -> str:
    if not evaluations:
        return paragraph("This run has no evaluation: eval/ is empty.", "note")
    first, last = min(evaluations), max(evaluations)
    if first == last:
        return paragraph(f"There is one evaluation, after step {first:,}: see below.", "note")
    return "\n".join(
        [
            paragraph(
                f"Before: step {first:,}; after: step {last:,}. Per cent, changes in points."
                " Strict: a completion of wrong form counts as wrong.",
                "note",
            ),
            before_after_table(evaluations[first], evaluations[last]),
        ]
    )


def _curves(
    metrics: Sequence[Mapping[str, Any]],
    evaluations: Mapping[int, Mapping[str, Any]],
    draw: Callable[[Callable[[], str]], str],
) -> str:
    if not metrics and not evaluations:
        return paragraph("No step is done yet.", "note")
    return draw(
        lambda: picture(to_png(training_curves(metrics, evaluations)), "metrics against the step")
    )


def _edge_metrics(metrics: Sequence[Mapping[str, Any]]) -> str:
    if not metrics:
        return ""
    first, last = metrics[0], metrics[-1]
    rows = [
        [name, _number(first.get(name)), _number(last.get(name))]
        for name in dict.fromkeys([*first, *last])
        if name != "step" and not any(part in name for part in _UNTIMED)
    ]
    steps = [f"step {row['step']:,}" for row in (first, last)]
    seconds = [row["time/step"] for row in metrics if "time/step" in row]
    note = ""
    if seconds:
        note = paragraph(f"{sum(seconds) / len(seconds):.2f} s per step in the mean.", "note")
    return table(["metric", *steps], rows) + note


def _evaluations(evaluations: Mapping[int, Mapping[str, Any]]) -> str:
    if not evaluations:
        return ""
    blind = any("blank" in summary for summary in evaluations.values())
    rows: list[list[Cell]] = []
    for step, summary in evaluations.items():
        entry = summary["overall"]
        row = [f"{step:,}", f"{entry['n']:,}", percent(entry["accuracy"]), interval(entry)]
        if blind:
            row.append(percent(summary.get("blank", {}).get("overall", {}).get("accuracy")))
        rows.append(row)
    headings = ["step", "n", "accuracy", "95 % range", *(["images blank"] if blind else [])]
    last = max(evaluations)
    return "\n".join(
        [
            table(headings, rows),
            heading(f"By slice, after step {last:,}"),
            slices_table(evaluations[last]),
        ]
    )


def _group(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a group: its images, its question, its completions with rewards and advantages."""
    first = rows[0]
    options = zip(ascii_uppercase, first["options"], strict=False)
    question = "\n".join([first["question"], *(f"{letter}) {text}" for letter, text in options)])
    names = list(first["rewards"])
    body = [
        [
            row["completion"],
            row["choice"],
            *(_number(row["rewards"][name]) for name in names),
            _number(row["reward"]),
            f"{row['advantage']:+.2f}",
            f"{row['completion_tokens']:,}",
        ]
        for row in rows
    ]
    agree = len({row["reward"] for row in rows}) == 1
    what = "all of one reward: nothing is learned from it" if agree else "the first with a spread"
    return "\n".join(
        [
            heading(f"Step {first['step']:,}, {first['id']}, a group of {len(rows)} ({what})"),
            *(_image(name) for name in first["images"]),
            preformatted(f"{question}\n\nright: {first['answer']}"),
            table(
                ["completion", "choice", *names, "reward", "advantage", "tokens"],
                body,
                text_columns=(0,),
            ),
        ]
    )


def _image(name: str) -> str:
    try:
        return picture(image_png(name), name, kind="seen")
    except ValueError as error:
        return paragraph(f"The image is not shown: {error}", "note")


def _profile(directory: Path) -> str:
    file = directory / "profile" / "table.txt"
    if not file.is_file():
        return ""
    return preformatted(file.read_text(encoding="utf-8", errors="replace"))


def _settings(run: Mapping[str, Any]) -> str:
    rows = [[name, _plain(value)] for name, value in run["config"].items()]
    sums = [[name, value] for name, value in run.get("checksums", {}).items()]
    parts = [table(["setting", "value"], rows, text_columns=(0, 1))]
    parts += [heading("Prompt"), preformatted(run["prompt_template"])]
    if sums:
        parts += [heading("SHA-256"), table(["of", "value"], sums, text_columns=(0, 1))]
    return folded(f"{len(rows)} settings, the prompt, checksums", *parts)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return "–" if value in (None, "") else str(value)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
