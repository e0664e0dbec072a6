"""The sections of a run's report, from the files of its directory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.report.album import Album
from evaluation.report.figures.curves import training_curves
from evaluation.report.pictures import ReportImages
from evaluation.report.rollout_groups import rollout_parts
from evaluation.report.run_files import RunFiles
from evaluation.report.summary_html import DASH, before_after_table, slices_table
from grpo.watch.alarms import MetricAlarms
from process.tables.document import folded, heading, paragraph, preformatted, section
from process.tables.html import html_table
from process.tables.numbers import percent, percent_range, points, points_range
from process.tables.value import Cell, Table, columns_of

MetricRows = Sequence[Mapping[str, Any]]
Evaluations = Mapping[int, Mapping[str, Any]]

_FACTS = ("method", "mode", "model", "train_json", "eval_json", "group_size", "learning_rate")
_UNTIMED = ("time/", "_per_second")


def run_sections(files: RunFiles, album: Album, image_root: Path | None = None) -> list[str]:
    """Return the HTML sections of a run.

    Args:
        files: run.json among them; every other file may be missing.
        album: draws the figures.
        image_root: the folder of the images, instead of the one that run.json names.

    Raises:
        ValueError: run.json cannot be read; it is named.
    """
    run = files.json_object("run.json")
    metrics = list(files.lines("metrics.jsonl", check_metrics))
    evaluations = files.evaluations()
    best = files.optional_object("checkpoints/best.json")
    pictures = ReportImages(run["config"].get("image_root"), image_root, files.left_out)
    rollouts = rollout_parts(files, pictures)
    return [
        section("The run", _facts(run, metrics)),
        section("Alarms", _alarms(metrics)),
        section(
            "Held-out questions, greedy",
            _change(evaluations),
            _best(best) if best else "",
        ),
        section("Curves", _curves(metrics, evaluations, album)),
        section("First and last step", _edge_metrics(metrics)),
        section("Evaluations", _evaluations(evaluations)),
        section("Rollouts", pictures.note(), *rollouts),
        section("Profile", _profile(files)),
        section("All settings", _settings(run)),
    ]


def check_metrics(row: Mapping[str, Any]) -> None:
    """Raise a TypeError or KeyError for a row that is none of metrics.jsonl."""
    if not isinstance(row["step"], int):
        raise TypeError("step is no whole number")
    for name, value in row.items():
        if not isinstance(value, int | float | None):
            raise TypeError(f"{name!r} is {type(value).__name__}")
        float(value or 0)  # raises an OverflowError for what no figure can hold


def _facts(run: Mapping[str, Any], metrics: MetricRows) -> str:
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
    return html_table(Table(columns_of(["", ""], text=(0, 1)), rows))


def _changes(changed: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_plain(value)}" for name, value in changed.items()) or "as it was"


def _alarms(metrics: MetricRows) -> str:
    """Return the alarms of a run: its metrics go through the rules of training once more."""
    alarms = MetricAlarms()
    return "\n".join(
        paragraph(f"Step {row['step']:,}: {text}.", "alarm")
        for row in metrics
        for text in alarms.look(row)
    )


def _change(evaluations: Evaluations) -> str:
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


def _best(best: Mapping[str, Any]) -> str:
    place = f"checkpoints/{best['checkpoint']}" if best["checkpoint"] else "the start model itself"
    return paragraph(
        f"Best held-out accuracy: {percent(best['accuracy'])} % at step {best['step']:,}, {place}."
    )


def _curves(metrics: MetricRows, evaluations: Evaluations, album: Album) -> str:
    if not metrics and not evaluations:
        return paragraph("No step is done yet.", "note")
    text = (
        "Metrics of every step and greedy held-out accuracy against the step; bars are 95 %"
        " intervals over the questions."
    )
    return album.add("curves", lambda: training_curves(metrics, evaluations), text)


def _edge_metrics(metrics: MetricRows) -> str:
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
    return html_table(Table(columns_of(["metric", *steps]), rows)) + note


def _evaluations(evaluations: Evaluations) -> str:
    if not evaluations:
        return ""
    blind = any("blank" in summary for summary in evaluations.values())
    rows: list[list[Cell]] = []
    for step, summary in evaluations.items():
        entry = summary["overall"]
        span = percent_range(entry["low"], entry["high"], dash=DASH)
        row: list[Cell] = [f"{step:,}", f"{entry['n']:,}", percent(entry["accuracy"]), span]
        if blind:
            gain = summary.get("visual_gain", {})
            row += [
                percent(summary.get("blank", {}).get("overall", {}).get("accuracy")),
                points(gain.get("gain")),
                points_range(gain.get("low"), gain.get("high")),
                percent(summary.get("image_sensitivity", {}).get("blank", {}).get("share")),
            ]
        rows.append(row)
    headings = ["step", "n", "accuracy", "95 % range"]
    if blind:
        headings += ["images blank", "visual gain", "95 % range by image", "answers change"]
    last = max(evaluations)
    return "\n".join(
        [
            html_table(Table(columns_of(headings), rows)),
            heading(f"By slice, after step {last:,}"),
            slices_table(evaluations[last]),
        ]
    )


def _profile(files: RunFiles) -> str:
    table = files.text("profile/table.txt")
    return preformatted(table) if table else ""


def _settings(run: Mapping[str, Any]) -> str:
    rows = [[name, _plain(value)] for name, value in run["config"].items()]
    sums = [[name, value] for name, value in run.get("checksums", {}).items()]
    parts = [html_table(Table(columns_of(["setting", "value"], text=(0, 1)), rows))]
    parts += [heading("Prompt"), preformatted(run["prompt_template"])]
    if sums:
        checksums = Table(columns_of(["of", "value"], text=(0, 1)), sums)
        parts += [heading("SHA-256"), html_table(checksums)]
    return folded(f"{len(rows)} settings, the prompt, checksums", *parts)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return "–" if value in (None, "") else str(value)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
