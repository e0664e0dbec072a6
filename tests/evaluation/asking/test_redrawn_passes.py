"""Blurred and mirrored images in a plan: passes, numbers, and the lines that are printed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from data.examples import VQAExample
from evaluation.answers.prediction import judge
from evaluation.asking.evaluation_plan import plan_passes, summarize_passes
from evaluation.report.extra_text import extra_table
from process.page import fitted

CONTROLS = ("blank", "blur:16", "flip", "blur:4")
SIDES = ("left lung", "right lung", "no lung")


@pytest.fixture(scope="module")
def summed_up():
    """Four rows about sides, two about something else, one without an image; and their summary."""
    texts = [("Which lung?", SIDES)] * 4 + [("Which technique?", ("CT", "x", "MRI"))] * 3
    rows = [
        VQAExample(f"row-{i}", (Path(f"{i}.png"),), question, options, "AAAABBB"[i])
        for i, (question, options) in enumerate(texts)
    ]
    rows[6] = replace(rows[6], images=())
    plan = plan_passes(rows, rows, controls=CONTROLS)
    # right where the image is as it is, and blind the first option; mirrored the second one
    predictions = [
        judge(
            row,
            f"<answer>{ ({None: row.answer, 'flip': 'B'}.get(item.control, 'A')) }</answer>",
            mode="no_think",
            completion_tokens=3,
            truncated=False,
            control=item.control,
        )
        for item in plan.passes
        for row in item.examples
    ]
    return plan, summarize_passes(plan, predictions)


def test_each_radius_is_a_pass_and_rows_without_an_image_are_left_out_and_counted(summed_up):
    plan, summary = summed_up
    assert [item.control for item in plan.passes] == [None, *CONTROLS]
    assert [len(item.examples) for item in plan.passes] == [7, 6, 6, 6, 6]
    for name in CONTROLS:
        assert summary["controls"][name]["impossible"] == {"the row has no image": 1}


def test_what_they_say_is_in_the_summary(summed_up):
    _, summary = summed_up
    decay = summary["decay"]
    assert [(point["radius"], point["n"]) for point in decay["points"]] == [(0, 6), (4, 6), (16, 6)]
    assert [point["accuracy"] for point in decay["points"]] == pytest.approx([1, 4 / 6, 4 / 6])
    assert decay["blank"]["accuracy"] == pytest.approx(4 / 6)
    assert summary["controls"]["blur:4"]["gain"]["gain"] == pytest.approx(2 / 6)
    assert summary["visual_gain"] == summary["controls"]["blank"]["gain"]
    flip = summary["controls"]["flip"]
    assert (flip["sides"]["n"], flip["sides"]["accuracy"], flip["sides"]["swaps"]) == (4, 0, 1)
    assert (flip["others"]["n"], flip["others"]["accuracy"]) == (2, 1)
    json.dumps(summary, allow_nan=False)


def test_the_lines_that_are_printed(summed_up):
    _, summary = summed_up
    lines = [" ".join(line.split()) for line in extra_table(summary).splitlines()]
    assert any(line.startswith("image blurred by 16 6 66.7 ") for line in lines)
    place = next(i for i, line in enumerate(lines) if line.startswith("image mirrored 6 33.3"))
    assert lines[place].endswith(" 100.0")  # no gain over an image that can help
    assert [line.split("-")[0] for line in lines[place + 1 : place + 8]] == [
        "about left and right 4 0.0 0.0",
        "before 4 100.0",
        "answer changes 4 100.0",
        "left for right 4 100.0",
        "other questions 2 100.0 34.2",
        "before 2 100.0",
        "answer changes 2 0.0",
    ]
    assert "left for right: of answers that named one side, the other being offered" in lines
    assert "blur:4: 1 rows left out, the row has no image" in lines
    assert all(len(line) < 100 for line in fitted(extra_table(summary)).splitlines())


def test_what_is_not_in_the_table_is_not_explained_below_it(summed_up):
    _, summary = summed_up
    flip = summary["controls"]["flip"]
    nobody_named_a_side = flip | {"sides": flip["sides"] | {"swappable": 0, "swaps": None}}
    text = extra_table({"controls": {"flip": nobody_named_a_side}})
    assert "about left and right" in text and "left for right" not in text
