"""What a change of the thought does to the letters: the numbers, worked by hand."""

import json
from dataclasses import replace

import pytest

from evaluation.measures.thought_changes import ThoughtRow, summarize_changes
from evaluation.report.thought_text import thought_table

THOUGHTS = {"applicable": True, "classes": {}, "tokens": None}


def changed(number, answer, own, donor=None, image="a", **letters):
    return ThoughtRow(
        id=f"r-{number}",
        images=(image,),
        answer=answer,
        choice="A",
        letters={"own": own, **letters},
        donors={"swapped": donor},
        thoughts={},
    )


def test_the_numbers_of_a_change_worked_by_hand():
    a, b = {"A": 0.9, "B": 0.1}, {"A": 0.2, "B": 0.8}
    rows = [
        changed(0, "A", a, "B", "one", swapped=b, removed=a),  # right to wrong, as the donor
        changed(1, "A", a, "B", "two", swapped=a, removed=a),  # stays
        changed(2, "B", b, "A", "two", swapped=a, removed=b),  # right to wrong; was written as A
        changed(3, "A", a, None, "three", removed=b),  # no donor
    ]
    found = summarize_changes(rows, ["removed", "swapped"], left_out=2)
    assert (found["n"], found["left_out"]) == (4, 2)
    assert (found["own"]["accuracy"], found["own"]["agrees"]) == (1.0, 0.75)
    swapped, removed = found["changes"]["swapped"], found["changes"]["removed"]
    assert (swapped["n"], swapped["without_donor"], swapped["images"]) == (3, 1, 2)
    assert (swapped["own_accuracy"], swapped["accuracy"]) == (1.0, pytest.approx(1 / 3))
    assert swapped["gain"] == swapped["changed"] == swapped["followed"] == pytest.approx(2 / 3)
    assert (swapped["low"], swapped["high"]) == (-1.0, 1.0)  # of two images
    assert (removed["n"], removed["changed"], removed["followed"]) == (4, 0.25, None)
    json.dumps(found, allow_nan=False)


def test_rows_whose_letters_are_hardly_written_are_left_out_and_counted():
    a, b = {"A": 0.9, "B": 0.1}, {"A": 0.2, "B": 0.8}
    rows = [
        replace(changed(0, "A", a, "B", "one", swapped=b), masses={"own": 0.9, "swapped": 0.8}),
        replace(changed(1, "A", a, "B", "two", swapped=b), masses={"own": 0.9, "swapped": 0.1}),
        replace(changed(2, "A", b, "B", "two", swapped=b), masses={"own": 0.1, "swapped": 0.9}),
    ]
    found = summarize_changes(rows, ["swapped"], left_out=0)
    assert (found["n"], found["little_mass"], found["own"]["n"]) == (3, 1, 2)
    swapped = found["changes"]["swapped"]
    assert (swapped["n"], swapped["without_donor"], swapped["little_mass"]) == (1, 0, 1)
    assert (swapped["own_accuracy"], swapped["accuracy"]) == (1.0, 0.0)
    text = thought_table({**THOUGHTS, "teacher_forced": {"applicable": True, **found}})
    assert "own thought: 1 rows left out, hardly any letter is written there" in text
    assert "swapped: 1 rows left out" in text
    none = summarize_changes(rows[2:], ["swapped"], left_out=0)
    text = thought_table({**THOUGHTS, "teacher_forced": {"applicable": True, **none}})
    assert "not measured, hardly any letter is written there" in text
