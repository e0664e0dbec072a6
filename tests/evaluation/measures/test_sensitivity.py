"""Image sensitivity and visual gain over all forms, counted by hand on made-up answers."""

from dataclasses import replace
from pathlib import Path

import pytest

from data.examples import VQAExample
from evaluation.answers.controls import control_rows
from evaluation.answers.prediction import judge
from evaluation.asking.evaluation_plan import plan_passes, summarize_passes
from evaluation.heldout import compared
from evaluation.matrix_json import control_json, matrix_json
from evaluation.measures.gains import summarize_control
from evaluation.measures.same_answer import same_answer
from evaluation.measures.sensitivity import image_sensitivity
from evaluation.measures.summary import summarize
from evaluation.report.extra_text import extra_table
from evaluation.report.matrix_text import sensitivity_table
from evaluation.report.summary_html import controls_table
from tests.evaluation.mixed import QUESTIONS, answered, question

pytestmark = pytest.mark.unit

# Under the control: letter-0 and yes-0 change; letter-1 stays; yes-1 is read now; text-0 says the
# same in capitals; number-0 writes its number otherwise. Two rows have no image.
UNDER = ("B", "A", "no", "no", "LEFT lung", "stomach", "3.40", "7")
WITH_IMAGE = [0, 1, 2, 3, 4, 6]


def pairs(under=UNDER):
    seen, blind = answered(), answered(under, control="blank")
    return [seen[i] for i in WITH_IMAGE], [blind[i] for i in WITH_IMAGE]


def test_the_share_of_changed_answers_by_hand():
    seen, blind = pairs()
    found = image_sensitivity(seen, blind)
    changed = [not same_answer(*pair) for pair in zip(seen, blind, strict=True)]
    assert changed == [True, False, True, True, False, False]
    assert (found["share"], found["n"], found["images"], found["unread"]) == (0.5, 6, 5, 0)
    assert 0 < found["low"] < 0.5 < found["high"] < 1


def test_it_is_0_where_all_answers_are_equal_and_1_where_all_differ():
    seen, _ = pairs()
    assert image_sensitivity(seen, seen)["share"] == 0.0
    assert image_sensitivity(seen, seen)["unread"] == 1  # yes-1, in neither
    other = pairs(("B", "B", "no", "yes", "heart", "", "9", ""))[1]
    assert image_sensitivity(seen, other)["share"] == 1.0


def test_unread_in_both_is_unchanged_and_unread_in_one_is_changed():
    seen, _ = pairs()
    nothing = pairs(("",) * 8)[1]
    found = image_sensitivity(seen, nothing)
    assert (found["share"], found["unread"]) == (5 / 6, 1)
    assert image_sensitivity(nothing, seen)["share"] == found["share"]  # either way round
    assert image_sensitivity(nothing, nothing) == {
        **image_sensitivity(seen, seen), "unread": 6
    }  # fmt: skip


def test_an_answer_is_itself_even_where_the_key_would_not_take_it():
    repeats = VQAExample("r", (), "What is seen?", (), "heart", form="text")
    how = {"mode": "no_think", "completion_tokens": 1, "truncated": False}
    item = judge(repeats, "<answer>What is seen? heart, liver</answer>", **how)
    assert same_answer(item, replace(item, control="blank"))


def test_rows_must_be_paired():
    seen, blind = pairs()
    for some in (blind[:-1], blind[::-1], []):
        with pytest.raises(ValueError, match="pair them by id"):
            image_sensitivity(seen if some else [], some)


def test_a_control_says_gain_and_sensitivity_by_kind_and_leaves_out_rows_without_an_image():
    rows = control_rows("blank", QUESTIONS, QUESTIONS, seed=0)
    assert rows.impossible == {"the row has no image": 2}
    found = summarize_control(answered(), pairs()[1], rows.impossible)
    # right before: letter-0, yes-0, text-0, number-0; after: yes-1, text-0, number-0
    assert found["gain"]["n"] == found["sensitivity"]["n"] == 6
    assert found["gain"]["gain"] == pytest.approx(1 / 6)
    assert found["sensitivity"]["closed"]["share"] == 3 / 4
    assert found["sensitivity"]["open"]["share"] == 0.0
    assert found["gain"]["by_form"]["yes_no"]["gain"] == 0.0
    assert found["sensitivity"]["by_form"]["yes_no"]["share"] == 1.0
    parts = found["sensitivity"]["by_form"].values()
    assert sum(part["n"] * part["share"] for part in parts) == 3
    assert found["overall"]["n"] == 6 and found["open"]["n"] == 2


def test_shuffled_images_come_from_rows_that_have_one_and_no_row_without_gets_one():
    rows = control_rows("shuffled", QUESTIONS, QUESTIONS, seed=0)
    asked = {item.id: item.images for item in rows.examples}
    assert set(asked) == {QUESTIONS[i].id for i in WITH_IMAGE}
    assert all(asked.values())
    with pytest.raises(ValueError, match=r"impossible for every row .the row has no image"):
        control_rows("shuffled", [QUESTIONS[5]], QUESTIONS, seed=0)


def test_rows_of_two_images_borrow_two_and_every_other_control_keeps_both():
    def row(name, *images, answer="A"):
        paths = tuple(Path(f"{image}.png") for image in images)
        return question(name, "letter", answer, images=paths, modality="CT")

    rows = [
        row("one", "a"),
        row("two", "b", "c"),
        row("too", "d", "e", answer="B"),
        row("own", "b", "f", answer="B"),  # shares an image with "two"
        row("odd", "a", "b", "c"),  # the only one of three
        row("none"),
        row("uno", "g", answer="B"),
    ]
    for name, reason in (("shuffled", "CT holds no other"), ("swapped", "unknown holds no")):
        found = control_rows(name, rows, rows, seed=0)
        given = {item.id: item.image_names for item in found.examples}
        assert given["two"] == ("d.png", "e.png")
        if name == "shuffled":
            assert given["too"] in {("b.png", "c.png"), ("b.png", "f.png")}
        else:  # its own answer is right of b, too
            assert "too" not in given
        assert (given["one"], given["uno"]) == (("g.png",), ("a.png",))
        assert [key for key in found.impossible if key.startswith(f"{reason} row of 3 images")]
        assert found.impossible["the row has no image"] == 1
    for name in ("blank", "blur:4", "flip"):
        kept = control_rows(name, rows, rows, seed=0).examples
        assert [item.images for item in kept] == [item.images for item in rows if item.images]


def test_it_stands_beside_the_visual_gain_in_summary_text_page_and_matrix():
    plan = plan_passes(QUESTIONS, QUESTIONS, controls=["blank", "no_image"])
    blind = pairs()[1]
    none = [replace(item, control="no_image") for item in pairs(("B",) * 8)[1]]
    summary = summarize_passes(plan, [*answered(), *blind, *none])
    assert list(summary["image_sensitivity"]) == ["blank"]  # the others stand in controls
    assert summary["image_sensitivity"]["blank"] == summary["controls"]["blank"]["sensitivity"]
    text = " ".join(extra_table(summary).split())
    assert "image sensitivity, the share of answers that change under a control" in text
    assert "blank 50.0 (" in text and "no_image 83.3 (" in text
    assert "blank: 2 rows left out, the row has no image" in text
    assert "answers change" in controls_table(summary)
    older = {**summary, "controls": {"blank": {**summary["controls"]["blank"]}}}
    del older["controls"]["blank"]["sensitivity"]
    assert "image sensitivity" not in extra_table(older)
    assert "answers change" in controls_table(older)

    cells = {("a", "CT"): summary, ("b", "CT"): older}
    matrix = control_json(cells, "blank")
    assert [cell.get("sensitivity", {}).get("share") for cell in matrix["cells"]] == [0.5, None]
    assert [line.split()[-1] for line in sensitivity_table(matrix).splitlines()[-2:]] == [
        "50.0",
        "-",
    ]
    assert sensitivity_table(matrix_json({("a", "CT"): summary["overall"]})) == ""


def test_during_training_the_questions_without_an_image_are_counted_and_not_compared():
    found = compared(answered(), answered(UNDER, control="blank"))
    assert (found["blank"]["overall"]["n"], found["blank"]["without_image"]) == (6, 2)
    assert found["visual_gain"]["gain"] == pytest.approx(1 / 6)
    assert found["image_sensitivity"]["blank"]["share"] == 0.5
    seen, blind = pairs()
    assert "without_image" not in compared(seen, blind)["blank"]
    assert compared(seen, blind)["blank"] == summarize(blind)


def test_a_swapped_image_answers_the_same_open_question_otherwise_or_there_is_none():
    def row(name, form, answer, text="Which organ?", **more):
        return question(name, form, answer, name, **{"question": text, **more})

    rows = [
        row("a", "text", "liver", accepted=("hepar",)),
        row("b", "text", "The Livers"),  # the same answer
        row("c", "text", "hepar"),  # accepted
        row("d", "text", "spleen"),
        row("e", "text", "mass", "What is seen?"),  # another question
        row("f", "yes_no", "A", "Is it large?"),
        row("g", "yes_no", "A", "Is it large?"),
        row("h", "yes_no", "B", "Is it dark?"),
        row("i", "number", "3", "How many?", absolute_tolerance=1.0),
        row("j", "number", "4", "How many?"),  # within i's tolerance, but i is not within j's
    ]
    found = control_rows("swapped", rows, rows, seed=0)
    given = {item.id: item.image_names for item in found.examples}
    assert given["a"] == ("d.png",)
    assert given["b"] in {("d.png",), ("c.png",)}
    assert set(given) == {"a", "b", "c", "d", "j"}
    assert found.impossible == {"no image has another right answer to the same question": 5}
