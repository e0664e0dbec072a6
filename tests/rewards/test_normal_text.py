"""Which texts give the same answer, and which only look alike."""

import pytest

from rewards.forms import normalised
from tests.growth import LINEAR, growth

SAME = [
    ("Left Lung", "left  lung\n"),
    ("the left lung.", "Left lung"),
    ("A mass in the lung", "mass in lung"),
    ("an aneurysm of an artery", "aneurysm of artery"),
    ("Lungs", "lung"),
    ("masses", "mass"),
    ("arteries", "artery"),
    ("branches", "branch"),
    ("Two nodules", "2 nodules"),
    ("twenty-one", "21"),
    ("Ninety nine", "99"),
    ("X-ray", "x ray"),
    ("T2-weighted", "T2 weighted"),
    ("left- and right-sided", "left and right sided"),
    ("Crohn\u2019s disease", "Crohn disease"),
    ("\uff23\uff34", "CT"),
    ("2\u20133 cm", "2-3 cm"),
    ("1,200 mL", "1200 ml"),
    (".5", "0.5"),
    ("50%", "50 percent"),
    ("heart & lung", "Heart and Lung"),
    ("CT/MRI", "CT, MRI"),
    ("**Heart**", '"Heart"'),
    ("\u80ba\uff0c\u5de6", "\u80ba \u5de6"),
]
DIFFERENT = [
    ("left lung", "lung"),
    ("left lung", "lung left"),
    ("HER2+", "HER2"),
    ("HER2+", "HER2-"),
    ("HER2-", "HER2"),
    ("2.5 cm", "25 cm"),
    (".5", "5"),
    ("-5", "5"),
    ("2-3", "23"),
    ("1:2", "12"),
    ("< 5 mm", "5 mm"),
    ("vitamin A", "vitamin"),
    ("hepatitis A virus", "hepatitis virus"),
    ("group A", "group B"),
    ("10\u2075", "105"),
    ("\u0939\u0943\u0926\u092f", "\u0939\u0926\u092f"),  # without a vowel
    ("pus", "pu"),
    ("axis", "axi"),
    ("mass", "mas"),
    ("T2s", "T2"),
    ("?", "."),
    ("thirty", "13"),
    ("twenty ten", "30"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_answer_written_otherwise_is_equal(one, other):
    assert normalised(one) == normalised(other) != ""


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_says_something_else_is_not(one, other):
    assert normalised(one) != normalised(other)


@pytest.mark.parametrize("text", ["the", "A", "an", "?", "+", "\u2014", "zero"])
def test_what_is_nothing_but_an_article_or_a_sign_still_stands_for_itself(text):
    assert normalised(text)


def test_letter_case_makes_no_difference_to_any_of_these():
    texts = [text for pair in (*SAME, *DIFFERENT) for text in pair]
    assert [normalised(text.upper()) for text in texts] == [normalised(text) for text in texts]


@pytest.mark.parametrize(
    "piece", ["a", "-", "a- ", "1,", ".", "a\u0301", "\u0301", "the ", "'", "twenty ", "s\u00e9s "]
)
def test_time_is_linear_in_the_text(piece):
    assert growth(normalised, piece) < LINEAR
