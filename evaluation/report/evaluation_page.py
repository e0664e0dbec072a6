"""The sections of an evaluation's report: its tables, its calibration, some of its answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.answers.prediction import LEAST_MASS, Prediction, check_fields
from evaluation.measures.letter_confidence import chosen_confidences
from evaluation.report.album import Album
from evaluation.report.figures.confidence import reliability_diagram, risk_coverage_curve
from evaluation.report.figures.decay import decay_curve
from evaluation.report.in_words import in_words
from evaluation.report.pictures import ReportImages
from evaluation.report.rollout_groups import question_part, shortened
from evaluation.report.run_files import RunFiles
from evaluation.report.summary_html import (
    controls_table,
    permutations_table,
    priors_table,
    sides_table,
    slices_table,
)
from evaluation.report.summary_text import NOT_LETTERED, spread_places
from evaluation.report.thought_text import thought_table
from process.tables.document import aligned, heading, paragraph, section
from process.tables.html import html_table
from process.tables.numbers import percent
from process.tables.value import Foreign, Table, columns_of

ANSWERS = 6


def evaluation_sections(files: RunFiles, album: Album, image_root: Path | None = None) -> list[str]:
    """Return the HTML sections of an evaluation directory.

    Args:
        files: summary.json among them; without predictions.jsonl no answers are shown and there is
            no risk-coverage curve.
        album: draws the figures.
        image_root: the folder of the images, instead of the one that summary.json names.

    Raises:
        ValueError: summary.json cannot be read; it is named.
    """
    summary = files.json_object("summary.json")
    rows = map(Prediction.from_json, files.lines("predictions.jsonl", check_fields))
    plain = [item for item in rows if item.is_plain]
    about = summary.get("evaluation", {})
    pictures = ReportImages(about.get("image_root"), image_root, files.left_out)
    answers = answers_shown(plain, pictures)
    return [
        section("The evaluation", _facts(about)),
        section(
            "Accuracy by slice",
            paragraph("Per cent. Strict: a completion of wrong form counts as wrong.", "note"),
            slices_table(summary),
        ),
        section("What the image adds", controls_table(summary)),
        section("Blurred images", *_decay(summary, album)),
        section("Mirrored images", sides_table(summary)),
        section("Other orders of the options", permutations_table(summary)),
        section("What the text alone reaches", priors_table(summary)),
        section("Thought and answer", _thoughts(summary)),
        section("Confidence", *_calibration(summary.get("calibration"), plain, album)),
        section("Some answers", pictures.note(), *answers),
    ]


def _facts(facts: Mapping[str, Any]) -> str:
    plain = [
        [name.replace("_", " "), value]
        for name, value in facts.items()
        if isinstance(value, str | int | float)
    ]
    return html_table(Table(columns_of(["", ""], text=(0, 1)), plain))


def _decay(summary: Mapping[str, Any], album: Album) -> list[str]:
    found = summary.get("decay")
    if not found:
        return []
    text = (
        "Accuracy in per cent against the radius of the blur in pixels of what the model sees, with"
        " 95 % intervals. Own: the row's image as it is."
    )
    if "blank" in found:
        text += " The line of the blank images, with its interval, is the limit."
    return [album.add("decay", lambda: decay_curve(found["points"], found.get("blank")), text)]


def _thoughts(summary: Mapping[str, Any]) -> str:
    return aligned(thought_table(summary["thoughts"])) if "thoughts" in summary else ""


def _calibration(
    found: Mapping[str, Any] | None, plain: Sequence[Prediction], album: Album
) -> list[str]:
    if not found:
        return [paragraph("No completion has letter probabilities.", "note")]
    mass, little = found.get("letter_mass"), found.get("little_mass", 0)
    others = found.get("not_lettered", 0)
    if not found["n"]:
        why = f": {little:,} answers hardly ever write one behind <answer>" if little else ""
        return [paragraph(f"No completion has letter probabilities{why}.", "note")]
    rows = [
        ["answers", f"{found['n']:,}"],
        ["a letter behind the answer tag, probability, %", "-" if mass is None else percent(mass)],
        [f"left out: that is under {percent(LEAST_MASS)} %", f"{little:,}"],
        *([[f"left out: {NOT_LETTERED}", f"{others:,}"]] if others else []),
        ["left out: no answer tag", f"{found['without_answer_tag']:,}"],
        ["left out: no letter", f"{found['without_choice']:,}"],
        ["accuracy of the letter, %", percent(found["accuracy"])],
        ["confidence, mean, %", percent(found["confidence"])],
        [f"expected calibration error, {len(found['bins'])} bins, points", percent(found["ece"])],
        ["Brier score of the letter", f"{found['brier']:.3f}"],
        ["Brier score over all options", f"{found['brier_options']:.3f}"],
        ["area under the risk-coverage curve, %", percent(found["risk_coverage_area"])],
    ]
    parts = [
        paragraph("Confidence is the probability of the letter that the answer chose."),
        html_table(Table(columns_of(["", ""]), rows)),
        album.add(
            "reliability",
            lambda: reliability_diagram(found["bins"], error=found["ece"]),
            "Share right against confidence, and how many answers each bin has.",
        ),
    ]
    confidences, correct = chosen_confidences(plain)
    if confidences:
        parts.append(
            album.add(
                "risk-coverage",
                lambda: risk_coverage_curve(confidences, correct),
                "Share wrong among the surest answers, against how many of them are kept.",
            )
        )
    return parts


def answers_shown(plain: Sequence[Prediction], pictures: ReportImages) -> list[str]:
    """Return the HTML of a few answers, each with its images, its question and what is right."""
    parts = []
    for place in spread_places(len(plain), ANSWERS):
        item = plain[place]
        verdict = "right" if item.correct else "wrong"
        verdict += "" if item.well_formed else ", not well-formed"
        choice = in_words(item.to_json(), item.choice)
        row = [[shortened(item.completion), choice, verdict]]
        parts += [
            heading((Foreign(item.id), f" ({item.modality}, {item.question_type}): {verdict}")),
            *pictures.parts(item.images),
            question_part(item.to_json()),
            html_table(Table(columns_of(["completion", "choice", ""], written=(0,)), row)),
        ]
    if parts:
        parts.insert(0, paragraph(f"{ANSWERS} at most, spread over all and not chosen.", "note"))
    return parts
