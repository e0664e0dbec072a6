"""Rows that stand twice, and what train and eval have in common."""

import pytest

from data.examples import VQAExample
from data.repeats import repeats_of, shared_by

pytestmark = pytest.mark.unit


class Picture:
    """An image that has a name."""

    def __init__(self, name):
        self.name = name

    def __call__(self):
        raise AssertionError("nothing is drawn")

    def __str__(self):
        return self.name


def shows(number, image, question="Which?", answer="x", options=("x", "y")):
    letter = "AB"[options.index(answer)]
    return VQAExample(f"e-{number}", (Picture(image),), question, options, letter)


def test_a_repeated_row_is_told_whatever_the_order_of_its_options():
    some = [
        shows(0, "a.png"),
        shows(1, "./a.png", options=("y", "x")),  # the same, its options in another order
        shows(2, "a.png", answer="y"),  # contradicts
        shows(3, "a.png", question="Where?"),
        shows(4, "b.png"),
    ]
    found = repeats_of(some)
    assert found.same == [("e-0", "e-1")] and found.contradicting == [("e-0", "e-2")]


@pytest.mark.parametrize(
    ("form", "one", "other", "more", "is_same"),
    [
        ("text", "Left lung", "the left lung.", {}, True),
        ("text", "left lung", "right lung", {}, False),
        ("text", "hepar", "liver", {"accepted": ("hepar",)}, True),
        ("labels", "disc, line", "line, disc", {}, True),
        ("labels", "disc, line", "disc", {}, False),
        ("number", "3", "3.0", {}, True),
        ("number", "3", "4", {}, False),
        ("number", "3", "4", {"absolute_tolerance": 1.0}, True),
    ],
)
def test_keys_of_open_questions_contradict_where_the_one_is_wrong_for_the_other(
    form, one, other, more, is_same
):
    earlier = VQAExample("e-0", (Picture("a.png"),), "What?", (), one, form=form)
    later = VQAExample("e-1", (Picture("a.png"),), "What?", (), other, form=form, **more)
    for some in ([earlier, later], [later, earlier]):
        found = repeats_of(some)
        ids = [tuple(row.id for row in some)]
        assert (found.same, found.contradicting) == ((ids, []) if is_same else ([], ids))


def test_what_two_parts_have_in_common():
    train = [shows(0, "a.png"), shows(1, "b.png")]
    test = [shows(0, "a.png"), shows(1, "a.png", "Where?"), shows(2, "c.png")]
    found = shared_by(test, train)
    assert (found.same_image, found.same_question) == (2, 1)
