"""protocol.json's means, differences and spread against plain loops, and the page made from it."""

import json
import random
from statistics import stdev

import pytest

from evaluation.measures.matrices import AnsweredRow
from evaluation.protocol.comparisons import compare_answers, compare_rows
from evaluation.protocol.protocol_file import AxisPlan, DataPlan, ProtocolConfig
from evaluation.protocol.results import (
    BASE,
    AxisResults,
    CellResult,
    axis_json,
    grid_json,
    seed_differences,
    seeds_json,
)
from evaluation.report import protocol_tables
from evaluation.report.protocol_markdown import protocol_markdown
from tests.places import ROOT

SLICES = ("CT", "MRI", "OCT")
SIZES = {"CT": 8, "MRI": 5, "OCT": 11}
SEEDS = (0, 1, 2)
METHODS = ("sft", "think")
AXIS = AxisPlan("modality", SLICES, SLICES, ("CT", "MRI"))
CONFIG = ProtocolConfig(
    file="p.toml",
    model="tiny",
    output_dir="out",
    methods=METHODS,
    zero_shot=("think",),
    seeds=SEEDS,
    steps=1,
    epochs=0,
    test_limit=None,
    batch_size=1,
    delete_checkpoints=False,
    data=DataPlan(True, "", "", ""),
    axes=(AXIS,),
    settings={},
    own_settings={"sft": {}, "grpo": {}},
)


def entry(rows):
    accuracy = sum(row.correct for row in rows) / len(rows)
    numbers = {"accuracy": accuracy, "n": len(rows), "low": 0.0, "high": 1.0, "chance": 0.25}
    return {**numbers, "well_formed": 1.0, "completion_tokens": 9.0}


def cell(test, rng):
    def rows(share):  # two rows of a file share an image
        return [
            AnsweredRow(f"{test}-{i}", (f"{test}-image-{i // 2}",), rng.random() < share)
            for i in range(SIZES[test])
        ]

    seen, blank = rows(0.7), rows(0.3)
    gain = entry(seen)["accuracy"] - entry(blank)["accuracy"]
    summary = {
        "overall": entry(seen),
        "controls": {"blank": {"overall": entry(blank)}},
        "visual_gain": {"gain": gain, "low": None, "high": None},
        "text_priors": {"lookup": {"prior": {"accuracy": 0.5}, "model_where_wrong": None}},
    }
    return CellResult(summary, seen, blank)


def grid(rng, models):
    return {(model, test): cell(test, rng) for model in models for test in SLICES}


@pytest.fixture(scope="module")
def found():
    rng = random.Random(0)
    methods = {
        method: {seed: grid(rng, SLICES if seed == 0 else ("CT", "MRI")) for seed in SEEDS}
        for method in METHODS
    }
    return AxisResults({"think": grid(rng, (BASE,))}, methods)


@pytest.fixture(scope="module")
def axis(found):
    return json.loads(json.dumps(axis_json(CONFIG, AXIS, found, resamples=50), allow_nan=False))


def slow_mean(cells, blank=False):
    accuracies = []
    for one in cells:
        rows = one.blank if blank else one.rows
        accuracies.append(sum(row.correct for row in rows) / len(rows))
    return sum(accuracies) / len(accuracies)


def parts(cells):
    """The cells of a grid on and off the diagonal."""
    own = [one for (model, test), one in cells.items() if model == test]
    return {
        "diagonal": own,
        "off_diagonal": [o for o in cells.values() if not any(o is x for x in own)],
    }


@pytest.mark.parametrize("part", ["diagonal", "off_diagonal"])
@pytest.mark.parametrize("method", METHODS)
def test_means_and_gains_are_those_of_a_plain_loop(found, axis, method, part):
    cells = parts(found.methods[method][0])[part]
    matrix = axis["methods"][method]["0"]
    assert matrix["means"][part]["macro"] == pytest.approx(slow_mean(cells))
    right = sum(row.correct for one in cells for row in one.rows)
    answers = sum(len(one.rows) for one in cells)
    assert matrix["means"][part]["row_weighted"] == pytest.approx(right / answers)
    assert matrix["means"][part]["n"] == answers
    gain = slow_mean(cells) - slow_mean(cells, blank=True)
    assert matrix["visual_gain"][part]["macro"]["difference"] == pytest.approx(gain)
    assert matrix["blank_means"][part]["macro"] == pytest.approx(slow_mean(cells, blank=True))


@pytest.mark.parametrize("part", ["diagonal", "off_diagonal"])
def test_differences_are_those_of_a_plain_loop(found, axis, part):
    (pair,) = axis["differences"]
    assert (pair["first"], pair["second"], pair["seed"]) == ("sft", "think", 0)
    one, other = (parts(found.methods[method][0])[part] for method in METHODS)
    numbers = pair[part]["macro"]
    assert numbers["difference"] == pytest.approx(slow_mean(one) - slow_mean(other))
    assert numbers["low"] <= numbers["difference"] <= numbers["high"]
    assert pair[part]["images"] == 4 + 3 + 6


def test_mcnemar_stands_only_where_a_row_occurs_once(found, axis):
    (pair,) = axis["differences"]
    assert "mcnemar" not in pair["off_diagonal"]
    one, other = (parts(found.methods[method][0])["diagonal"] for method in METHODS)
    rows = [
        both for x, y in zip(one, other, strict=True) for both in zip(x.rows, y.rows, strict=True)
    ]
    only = sum(a.correct and not b.correct for a, b in rows)
    assert pair["diagonal"]["mcnemar"]["first_only"] == only
    for train in SLICES:
        others = pair["by_train"][train]["others"]
        assert others["n"] == sum(SIZES[test] for test in SLICES if test != train)
        own = pair["by_train"][train]["own"]
        deltas = [
            a.correct - b.correct
            for a, b in zip(
                *(found.methods[method][0][train, train].rows for method in METHODS), strict=True
            )
        ]
        assert own["difference"] == pytest.approx(sum(deltas) / len(deltas))


def test_the_start_model_is_compared_cell_by_cell_in_the_method_s_mode(found, axis):
    (pair,) = axis["over_zero_shot"]  # sft is asked in no_think, which the start model was not
    assert pair["first"] == "think"
    base, trained = found.zero_shot["think"], found.methods["think"][0]
    deltas = [
        slow_mean([trained[cell]]) - slow_mean([base[BASE, cell[1]]])
        for cell in trained
        if cell[0] != cell[1]
    ]
    assert pair["off_diagonal"]["macro"]["difference"] == pytest.approx(sum(deltas) / len(deltas))
    gain = axis["zero_shot"]["think"]["visual_gain"]["all"]
    assert gain["n"] == sum(SIZES.values())


def test_the_spread_over_seeds_is_over_the_repeated_slices_only(found, axis):
    for method in METHODS:
        values = []
        for seed in SEEDS:
            kept = {c: x for c, x in found.methods[method][seed].items() if c[0] != "OCT"}
            values.append(slow_mean(parts(kept)["off_diagonal"]))
        spread = axis["seeds"][method]["off_diagonal"]["accuracy"]
        assert spread["mean"] == pytest.approx(sum(values) / 3)
        assert spread["std"] == pytest.approx(stdev(values))
        assert axis["seeds"][method]["off_diagonal"]["accuracies"] == pytest.approx(values)
    (pair,) = axis["seed_differences"]
    means = [axis["seeds"][method]["off_diagonal"]["accuracy"]["mean"] for method in METHODS]
    assert pair["off_diagonal"]["mean"] == pytest.approx(means[0] - means[1])


def test_cells_that_one_method_lacks_are_left_out_of_a_difference():
    rng = random.Random(1)
    first, second = grid(rng, ("CT", "MRI")), grid(rng, ("CT",))
    rows = [{cell: one.rows for cell, one in some.items()} for some in (first, second)]
    found = compare_answers(*rows, resamples=20)
    assert (found["diagonal"]["cells"], found["off_diagonal"]["cells"]) == (1, 2)
    assert list(found["by_train"]) == ["CT"]
    assert compare_answers(rows[0], {}) == {"diagonal": None, "off_diagonal": None, "by_train": {}}


def test_rows_of_one_image_have_no_interval():
    rows = [AnsweredRow("a", ("x",), True), AnsweredRow("b", ("x",), False)]
    found = compare_rows(rows, rows)
    assert (found["difference"], found["low"], found["high"]) == (0, None, None)


def result_of(axis, **changes):
    protocol = {
        "file": "p.toml",
        "model": "tiny",
        "methods": list(METHODS),
        "steps": 60,
        "epochs": 0,
        "seeds": [0, 1, 2],
        "test_limit": 100,
        "settings": {"sft": {}, "grpo": {"beta": 0.02}, "image_size": 84},
    }
    machine = {
        "versions": {"torch": "2", "transformers": "5"},
        "machine": {"gpus": [], "threads": 2},
    }
    result = {
        "complete": True,
        "resamples": 50,
        "missing": {},
        "protocol": protocol,
        "runs": [],
        **machine,
    }
    return result | {"axes": {"modality": axis}} | changes


def test_the_page_shows_what_the_json_holds(axis):
    page = protocol_markdown(result_of(axis))
    mean = axis["methods"]["sft"]["0"]["means"]["off_diagonal"]
    row = next(line for line in page.splitlines() if line.startswith("| sft | other slices |"))
    assert f"| {100 * mean['macro']:.1f} | {100 * mean['row_weighted']:.1f} | 25.0 |" in row
    difference = axis["differences"][0]["diagonal"]["macro"]["difference"]
    assert f"{100 * difference:+.1f}" in next(
        line for line in page.splitlines() if line.startswith("| sft - think | own slice |")
    )
    assert "has seen" in page and "Not complete" not in page
    for block in page.split("\n\n"):
        if block.startswith("| "):
            assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_the_caution_is_about_the_embedded_model_only(axis):
    result = result_of(axis)
    result["protocol"]["model"] = "some/other"
    assert "Caution" not in protocol_markdown(result)


def test_a_partial_protocol_says_what_is_missing():
    empty = axis_json(CONFIG, AXIS, AxisResults({}, {}))
    missing = {"runs": [f"modality/CT/think-seed{i}" for i in range(12)], "cells": ["one cell"]}
    page = protocol_markdown(result_of(empty, complete=False, missing=missing))
    assert "**Not complete**: 12 runs are missing (modality/CT/think-seed0, " in page
    assert "think-seed9, ..); 1 cells are missing (one cell)" in page


def test_an_axis_with_a_part_of_its_cells_has_a_page(found):
    some = {cell: one for cell, one in found.methods["sft"][0].items() if cell[1] != cell[0]}
    part = axis_json(CONFIG, AXIS, AxisResults({}, {"sft": {0: some}, "think": {0: {}}}))
    assert "| sft | other slices |" in protocol_markdown(result_of(part))


def test_seeds_of_other_cells_are_not_subtracted():
    rng = random.Random(2)
    whole = {seed: grid(rng, ("CT", "MRI")) for seed in (0, 1)}
    part = {seed: dict(list(whole[seed].items())[:-1]) for seed in (0, 1)}
    assert len(seed_differences(seeds_json({"sft": whole, "think": whole}))) == 1
    assert seed_differences(seeds_json({"sft": whole, "think": part})) == []


def test_the_docs_numbers_are_those_of_the_committed_run():
    root = ROOT / "docs"
    result = json.loads((root / "results/protocol_phantoms/protocol.json").read_text())
    assert result["complete"] and protocol_markdown(result) == (
        root / "results/protocol_phantoms/protocol.md"
    ).read_text(encoding="utf-8")
    text = (root / "protocol.md").read_text(encoding="utf-8")
    for axis, title in (("modality", "modality"), ("question_type", "question type")):
        found = result["axes"][axis]
        for method, seeds in found["methods"].items():
            mode = "no_think" if method == "sft" else method
            cells = [f"{title}, {method}", share(found["zero_shot"][mode]["means"]["all"]["macro"])]
            for part in ("diagonal", "off_diagonal"):
                gain = seeds["0"]["visual_gain"][part]["macro"]
                ends = f"[{points(gain['low'])}, {points(gain['high'])}]"
                cells.append(share(seeds["0"]["means"][part]["macro"]))
                cells.append(f"{points(gain['difference'])} {ends}")
            assert f"| {' | '.join(cells)} |" in text
        for pair in found["over_zero_shot"]:
            if pair["first"] == "think":
                for part in ("diagonal", "off_diagonal"):
                    assert points(pair[part]["macro"]["difference"]) in text


def share(value):
    return f"{100 * value:.1f}"


def points(value):
    return f"{100 * value:+.1f}"


def test_the_page_says_how_its_intervals_were_made():
    root = ROOT / "docs"
    result = json.loads((root / "results/protocol_phantoms/protocol.json").read_text())
    assert "2,000 resamples drawn by image; they say" in protocol_markdown(result)
    said = (
        "2,000 resamples drawn by image (up to 50 images a slice: Student's t by image); they say"
    )
    assert said in protocol_markdown({**result, "few_images": 50})


def test_image_sensitivity_is_the_mean_of_the_cells_where_all_have_one():
    cells = grid(random.Random(1), SLICES[:2])
    shares = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    before = grid_json(cells, resamples=10)
    assert "image_sensitivity" not in before
    for one, share in zip(cells.values(), shares, strict=True):
        found = {"share": share, "low": 0.0, "high": 1.0, "n": 5, "images": 5, "unread": 0}
        one.summary["controls"]["blank"]["sensitivity"] = found
    matrix = grid_json(cells, resamples=10)
    # CT on CT is the first, MRI on MRI the fifth
    assert matrix["image_sensitivity"] == pytest.approx(
        {"diagonal": 0.3, "off_diagonal": (0.2 + 0.3 + 0.4 + 0.6) / 4, "all": 0.35}
    )
    assert matrix["cells"][0]["image_sensitivity"] == {"share": 0.1, "low": 0.0, "high": 1.0}
    (table,) = protocol_tables._summary({"think": (0, matrix)})
    assert "answers change" in [column.heading for column in table.columns]
    assert table.rows[0][7] == "30.0"
    (older,) = protocol_tables._summary({"think": (0, before)})
    assert "answers change" not in [column.heading for column in older.columns]


def test_the_visual_gain_is_over_the_rows_that_have_an_image():
    cells = grid(random.Random(2), SLICES[:1])
    expected = grid_json(cells, resamples=10)["visual_gain"]
    without = AnsweredRow("text-only", ("text-only",), True)  # in no control
    longer = {
        place: CellResult(one.summary, [*one.rows, without], one.blank)
        for place, one in cells.items()
    }
    assert grid_json(longer, resamples=10)["visual_gain"] == expected
