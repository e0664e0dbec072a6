"""Accuracy against the radius of a blur."""

from dataclasses import replace

from evaluation.measures.decay import summarize_decay
from evaluation.measures.summary import slice_summary
from tests.evaluation.mixed import ANSWERS, answered

WRONG = ("B", *ANSWERS[1:])


def under(name, answers):
    """Return the answers of a control, which rows without an image have none of."""
    return [item for item in answered(answers, control=name) if item.images]


def test_the_points_are_own_and_blurred_images_of_the_same_rows_by_radius():
    plain = answered()
    controls = {"blur:16": under("blur:16", WRONG), "blur:4": under("blur:4", ANSWERS)}
    found = summarize_decay(plain, controls)
    assert [point["radius"] for point in found["points"]] == [0.0, 4.0, 16.0]
    assert {point["n"] for point in found["points"]} == {6}  # two of eight have no image
    own, four, sixteen = (point["accuracy"] for point in found["points"])
    assert own == four == 4 / 6
    assert sixteen == 3 / 6
    shown = [item for item in plain if item.images]
    assert found["points"][0] == {"radius": 0.0, **slice_summary(shown)}
    assert "blank" not in found


def test_blank_images_are_the_limit_where_they_were_asked_about():
    blank = under("blank", WRONG)
    found = summarize_decay(answered(), {"blank": blank, "blur:4": under("blur:4", ANSWERS)})
    assert found["blank"] == slice_summary(blank)


def test_nothing_is_said_where_nothing_was_blurred():
    assert summarize_decay(answered(), {"blank": under("blank", WRONG)}) == {}


def test_a_row_that_could_not_be_asked_counts_as_wrong():
    blurred = under("blur:4", ANSWERS)
    blurred[0] = replace(blurred[0], correct=False, unanswered="gone")
    found = summarize_decay(answered(), {"blur:4": blurred})
    assert [point["accuracy"] for point in found["points"]] == [4 / 6, 3 / 6]
    assert found["points"][1]["unanswered"] == 1
