"""Which texts give the same answer, and which only look alike."""

import pytest

from rewards.forms import normalised
from rewards.forms.keyboard import as_typed
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
    ("boxes", "box"),
    ("rashes", "rash"),
    ("fizzes", "fizz"),
    ("ribs", "rib"),
    ("flies", "fly"),
    ("dies", "die"),
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
    ("\u80ba\u3001\u5de6", "\u80ba \u5de6"),
    ("\u00bfheart?", "heart"),
    ("le\u200bft lung", "left lung"),
    ("\u2265 5 mm", "\u22655 mm"),
    ("HER2(-)", "HER2-"),
    ("HER2 (\u2212) tumour", "HER2- tumour"),
    ("HER2 -", "HER2-"),
    ("- 5 HU", "-5 HU"),
    ("viruses", "virus"),
    ("sinuses", "sinus"),
    ("causes", "cause"),
    ("biopsies", "biopsy"),
    ("A-lines", "A-line"),
]
DIFFERENT = [
    ("left lung", "lung"),
    ("left lung", "lung left"),
    ("HER2+", "HER2"),
    ("HER2+", "HER2-"),
    ("HER2-", "HER2"),
    ("HER2(-)", "HER2"),
    ("HER2 (-) tumour", "HER2 tumour"),
    ("HER2 -", "HER2"),
    ("Gram -", "Gram"),
    ("- 5 HU", "5 HU"),
    ("- .5 HU", "0.5 HU"),
    ("A-lines", "lines"),
    ("pelvis", "pelvi"),
    ("lens", "lenses"),
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
    ("gas", "ga"),
    ("thrombus", "thrombu"),
    ("T12s", "T12"),
    ("\u2265 5 mm", "5 mm"),
    ("\u20ac 5", "5"),
    ("37\u00b0", "37"),
    ("group of A", "group of"),  # no article: nothing is behind it
    ("in the", "in"),
    ("axis", "axi"),
    ("mass", "mas"),
    ("T2s", "T2"),
    ("?", "."),
    ("thirty", "13"),
    ("twenty ten", "30"),
    ("twenty zero", "20"),
    ("nineteen one", "20"),
    ("one two", "3"),
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


def test_a_is_an_article_at_the_beginning_and_behind_these_words():
    words = "above along and are as at behind below beside between by for from has have in inside"
    more = "into is like near not of on or outside over shows through to under was were with within"
    for word in (*words.split(), *more.split(), "without"):
        assert normalised(f"mass {word} a lung") == normalised(f"mass {word} lung"), word


def test_thirty_marks_over_a_letter_are_put_in_order_and_no_more():
    acute, below = "\u0301", "\u0323"
    assert as_typed(f"a{29 * acute}{below}").startswith("\u1ea1")
    assert as_typed(f"a{30 * acute}{below}").startswith("\u00e1")
    assert as_typed(f"{30 * acute}a{29 * acute}{below}").endswith(f"\u1ea1{29 * acute}")
    assert as_typed(f"a{59 * acute}{below}").count("\u034f") == 1  # counted anew behind it
    assert as_typed(f"a{60 * acute}{below}").count("\u034f") == 2


def test_letter_case_makes_no_difference_to_any_of_these():
    texts = [text for pair in (*SAME, *DIFFERENT) for text in pair]
    assert [normalised(text.upper()) for text in texts] == [normalised(text) for text in texts]


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "-",
        "a- ",
        "1,",
        ".",
        "a\u0301",
        "\u0301",
        "the ",
        "'",
        "twenty ",
        "s\u00e9s ",
        "(-)",
        "a -",
        "( - ",
    ],
)
def test_time_is_linear_in_the_text(piece):
    assert growth(normalised, piece) < LINEAR
