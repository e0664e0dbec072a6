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


def test_what_two_parts_have_in_common():
    train = [shows(0, "a.png"), shows(1, "b.png")]
    test = [shows(0, "a.png"), shows(1, "a.png", "Where?"), shows(2, "c.png")]
    found = shared_by(test, train)
    assert (found.same_image, found.same_question) == (2, 1)
