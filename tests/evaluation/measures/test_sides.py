"""Questions about left and right: the rule, and what mirrored images make of their answers."""

from dataclasses import replace
from pathlib import Path

import pytest

from data.examples import VQAExample
from evaluation.answers.prediction import judge
from evaluation.measures.same_answer import same_answer
from evaluation.measures.sides import is_about_sides, other_side, summarize_sides


def example(question="Which?", options=("CT", "MRI"), answer="A", form="letter", number=0):
    return VQAExample(
        f"row-{number}", (Path("a.png"),), question, tuple(options), answer, form=form
    )


def answered(row, text, control=None):
    return judge(
        row,
        f"<answer>{text}</answer>",
        mode="no_think",
        completion_tokens=3,
        truncated=False,
        control=control,
    )


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Which lung is affected, the LEFT one?", ("Yes", "No")),
        ("Where is it?", ("Right lobe", "Caudate lobe")),
        ("Where is it?", ("left-sided", "midline")),
        ("Where is it?", ("leftmost", "central")),
        ("Is the fluid in the RLQ?", ("Yes", "No")),
        ("Which lobe?", ("LUL", "lingula")),
        ("Which lobe?", ("RML", "lingula")),
        ("Is the effusion bilateral?", ("Yes", "No")),
        ("Is it contralaterally enhanced?", ("Yes", "No")),
        ("What is the laterality?", ("one", "two")),
        ("The right one answers?", ("Yes", "No")),
        ("Is the mass left in the image?", ("Yes", "No")),
        ("Does a right-handed patient have a right-sided mass?", ("Yes", "No")),
        ("Which hand is shown?", ("Left hand", "Right hand")),
        ("左肺有病变吗?", ("Yes", "No")),
    ],
)
def test_a_question_is_about_sides_by_its_words_or_its_options(question, options):
    assert is_about_sides(answered(example(question, options), "A"))


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Which organ is shown?", ("Lung", "Liver")),
        ("Which is the right answer?", ("Lung", "Liver")),
        ("Choose the right option.", ("Lung", "Liver")),
        ("Is this right or wrong?", ("Yes", "No")),
        ("Is the joint at a right angle?", ("Yes", "No")),
        ("What happens if it is left untreated?", ("Death", "Nothing")),
        ("Was an organ left out?", ("Yes", "No")),
        ("Is this brightly stained?", ("Yes", "No")),
        ("Is a cleft lip seen?", ("Yes", "No")),
        ("What is lateral?", ("Fibula", "Tibia")),
        ("Is this a lateral view?", ("Yes", "No")),
        ("Is the patient right-handed?", ("Yes", "No")),
        ("What is told of the hand?", ("Left-handedness", "Tremor")),
        ("Was a sponge left behind?", ("Yes", "No")),
        ("Which device was left in situ?", ("Stent", "Left in place: a drain")),
        ("Which marker is seen?", ("R", "L")),
    ],
)
def test_other_uses_of_the_words_are_no_sides(question, options):
    assert not is_about_sides(answered(example(question, options), "A"))


def test_an_open_question_is_about_sides_by_its_answer_too():
    row = example("Which lung is affected?", (), "left", form="text")
    assert is_about_sides(answered(row, "right"))
    assert not is_about_sides(answered(replace(row, answer="both"), "right"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Left lung.", ("right", "lung")),
        ("the RIGHT-sided one", ("the", "left", "sided", "one")),
        ("LLQ and rightmost", ("rlq", "and", "leftmost")),
        ("左肺", ("右肺",)),
        ("bilateral", None),
        ("lung", None),
        ("", None),
    ],
)
def test_the_other_side_of_a_text(text, words):
    assert other_side(text) == words


def test_every_word_of_a_side_has_its_other():
    endings = ("", "most", "hand", "sided", "ward", "wards")
    pairs = [(f"left{ending}", f"right{ending}") for ending in endings]
    pairs += [("llq", "rlq"), ("luq", "ruq"), ("lll", "rll"), ("lul", "rul"), ("\u5de6", "\u53f3")]
    for left, right in pairs:
        assert (other_side(left), other_side(right)) == ((right,), (left,))
        for side in (left, right):
            assert is_about_sides(answered(example(f"Is the {side} one large?"), "A")), side
    for both in ("\u53cc\u4fa7", "\u4e24\u4fa7", "unilateral", "ipsilaterally", "contralateral"):
        assert is_about_sides(answered(example(f"{both}?"), "A")), both
        assert other_side(both) is None
    for noun in ("answer", "options", "choices", "statements", "angles", "angled"):
        assert not is_about_sides(answered(example(f"Which is the right {noun}?"), "A")), noun


SIDES = ("Left lung", "Right lung", "Both lungs")


@pytest.fixture
def measured():
    """Five rows about sides, two of other questions; the answers before and under the mirror.

    Of the sided ones: left -> right (swapped), right -> right (kept), both -> left (no side chosen
    before), left -> unreadable, left where no right is offered.
    """
    offered = [SIDES, SIDES, SIDES, SIDES, ("Left lung", "Heart")]
    rows = [
        *(example("Which lung?", options, "A", number=i) for i, options in enumerate(offered)),
        *(example("Which technique?", ("CT", "MRI"), "A", number=i) for i in (5, 6)),
    ]
    before = ("A", "B", "C", "A", "A", "A", "B")
    after = ("B", "B", "A", "none", "A", "A", "A")
    plain = [answered(row, text) for row, text in zip(rows, before, strict=True)]
    mirrored = [answered(row, text, "flip") for row, text in zip(rows, after, strict=True)]
    return plain, mirrored


def test_what_a_mirrored_image_changes_is_told_of_sides_and_others_apart(measured):
    found = summarize_sides(*measured)
    sides, others = found["sides"], found["others"]
    assert (sides["n"], sides["accuracy"], sides["own_accuracy"]) == (5, 2 / 5, 3 / 5)
    assert sides["changes"] == 3 / 5  # A to B, C to A, A to nothing
    # three had named a side whose opposite was offered: the first, the second, the fourth
    assert (sides["swappable"], sides["swaps"]) == (3, pytest.approx(1 / 3))
    assert (others["n"], others["accuracy"], others["own_accuracy"]) == (2, 1.0, 0.5)
    assert others["changes"] == 0.5
    assert "swaps" not in others
    assert sides["low"] < sides["accuracy"] < sides["high"]


def test_a_kind_without_rows_is_left_out(measured):
    plain, mirrored = measured
    assert set(summarize_sides(plain[5:], mirrored[5:])) == {"others"}
    found = summarize_sides(plain[2:3], mirrored[2:3])
    assert set(found) == {"sides"}
    assert (found["sides"]["swappable"], found["sides"]["swaps"]) == (0, None)


def test_open_answers_swap_sides_too():
    row = example("Which lung?", (), "left", form="text")
    found = summarize_sides(
        [answered(row, "The left lung")], [answered(row, "the right lung.", "flip")]
    )
    assert (found["sides"]["swappable"], found["sides"]["swaps"]) == (1, 1.0)


@pytest.mark.parametrize(
    ("form", "answer", "one", "other", "same"),
    [
        ("letter", "A", "A", "A", True),
        ("letter", "A", "A", "B", False),
        ("letter", "A", "neither", "none", True),
        ("letter", "A", "A", "none", False),
        ("yes_no", "A", "YES", "yes", True),
        ("text", "lung", "Liver", "liver", True),
        ("text", "lung", "liver", "kidney", False),
        ("number", "3", "2", "2.0", True),
        ("number", "3", "2", "2.1", False),
        ("labels", "a, b", "disc, line", "line, disc", True),
    ],
)
def test_two_answers_are_the_same_where_one_would_be_right_for_the_other(
    form, answer, one, other, same
):
    options = {"letter": ("CT", "MRI"), "yes_no": ("Yes", "No")}.get(form, ())
    row = example("Which?", options, answer, form)
    assert same_answer(answered(row, one), answered(row, other)) is same
