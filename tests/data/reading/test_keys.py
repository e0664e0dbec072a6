"""The form of a key follows from the answer alone; what is no answer is said, never guessed at."""

import math

import pytest

from data.reading.keys import Key, key_of, text_of, untagged


def yes_no(letter: str) -> Key:
    return Key("yes_no", letter, ("Yes", "No"))


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("Yes", yes_no("A")),
        ("no", yes_no("B")),
        (" YES. ", yes_no("A")),
        (["no"], yes_no("B")),
        ("<answer> No </answer>", yes_no("B")),
        ("有", Key("text", "有")),  # only English is known
        ("Yes, it is", Key("text", "Yes, it is")),
        ("3", Key("number", "3")),
        (3, Key("number", "3")),
        ([3], Key("number", "3")),
        (2.0, Key("number", "2")),
        (0.5, Key("number", "0.5")),
        (1e-7, Key("number", "0.0000001")),
        ("-2.50", Key("number", "-2.5")),
        ("3 cm", Key("text", "3 cm")),
        ("upper left ", Key("text", "upper left")),
        ("Discs, Lines", Key("text", "Discs, Lines")),  # one text as published
        (["disc", "Disc "], Key("text", "disc")),  # the same thing twice
        (["disc", "line"], Key("labels", "disc, line")),
        (("disc", 2), Key("labels", "disc, 2")),
        ("<think>dark</think>\n<answer>lung</answer>", Key("text", "lung")),
    ],
)
def test_the_form_follows_from_the_answer(value, key):
    assert key_of(value) == key


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "is empty: write the right answer"),
        (" \n", "is empty"),
        ("<answer> </answer>", "is empty"),
        (None, "is empty"),
        (math.nan, "is empty"),  # a table's empty cell
        (math.inf, "not a finite number"),
        (True, "neither a text nor a number"),
        ({"a": 1}, "neither a text nor a number"),
        ([], "an empty list"),
        (["disc", ""], "is empty"),
        (["disc", ["line"]], "neither a text nor a number"),
        (["yes", "no"], "both yes and no"),
        (["disc, bright", "line"], "a label with a comma"),
        ([f"label {n}" for n in range(1001)], "1,001 answers, more than 1,000"),
        ("9" * 400, "no answer can be right: .* is no short answer"),
        ("<answer>a</answer> or <answer>b</answer>", "holds the tag '</answer>'"),
        ("<answer>a", "holds the tag '<answer>'"),
        ("</answer>a<answer>", "holds the tag '</answer>'"),
        ("<think>a", "holds the tag '<think>'"),
    ],
)
def test_what_is_no_answer_is_said(value, reason):
    with pytest.raises(ValueError, match=reason):
        key_of(value)


@pytest.mark.parametrize(
    ("row", "absolute", "relative"),
    [
        ({}, 0.0, 0.0),
        ({"tolerance": 1}, 1.0, 0.0),
        ({"absolute_tolerance": "0.5", "relative_tolerance": 0.1}, 0.5, 0.1),
        ({"tolerance": 1, "absolute_tolerance": 1.0}, 1.0, 0.0),
        ({"tolerance": None, "relative_tolerance": ""}, 0.0, 0.0),  # a table's empty cells
    ],
)
def test_a_number_has_the_rows_tolerances(row, absolute, relative):
    key = key_of("3", row)
    assert (key.absolute_tolerance, key.relative_tolerance) == (absolute, relative)


@pytest.mark.parametrize("value", [-1, "much", True, math.nan, math.inf, [1], 10**400])
def test_a_tolerance_that_is_none_is_named(value):
    with pytest.raises(ValueError, match=r"has tolerance=.* must be a number from 0"):
        key_of(3, {"tolerance": value})


def test_two_tolerances_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"two tolerances, .*: keep one"):
        key_of(3, {"tolerance": 1, "absolute_tolerance": 2})


def test_a_texts_tolerance_says_nothing():
    assert key_of("lung", {"tolerance": "wide"}) == Key("text", "lung")


def test_further_texts_are_accepted_too():
    key = key_of("lung", {"accepted": ["left lung", " the lung "]})
    assert key == Key("text", "lung", accepted=("left lung", "the lung"))
    assert key_of("3", {"accepted": ["three"]}).form == "text"
    for wrong in ("lung", {"a": "b"}):
        with pytest.raises(ValueError, match=r"accepted=.* must be a list of texts"):
            key_of("lung", {"accepted": wrong})


def test_a_long_text_of_opening_tags_takes_linear_time():
    with pytest.raises(ValueError, match="holds the tag"):
        untagged("<answer>" * 500_000)


def test_a_large_number_is_written_out():
    assert text_of(1e20) == "100000000000000000000"
