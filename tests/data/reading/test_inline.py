"""Options inside the question: the published style, its odd cases, and what is no reading."""

import re
from string import ascii_uppercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.reading.inline import split_options


@pytest.mark.parametrize(
    ("problem", "question", "options"),
    [
        # as published: brackets and commas inside options
        (
            "How was it made? A)Optical Coherence Tomography (OCT), B)MRI (T1, T2), C)CT",
            "How was it made?",
            ("Optical Coherence Tomography (OCT)", "MRI (T1, T2)", "CT"),
        ),
        ("Which? A)T2 N0, Stage I, B)T1, Stage 0", "Which?", ("T2 N0, Stage I", "T1, Stage 0")),
        # a final period is part of the option, a period ends a question as well as its mark does
        ("Name the stage. A)Stage 0., B)Stage I.", "Name the stage.", ("Stage 0.", "Stage I.")),
        ("Name the stage A)0, B)I", "Name the stage", ("0", "I")),
        # "(IQA)" holds "A)" but no option
        ("By quality (IQA), which? A)Good, B)Bad", "By quality (IQA), which?", ("Good", "Bad")),
        ("By the quality (IQA) A)Good, B)Bad", "By the quality (IQA)", ("Good", "Bad")),
        ("Name it A)High quality (IQA), B)Low", "Name it", ("High quality (IQA)", "Low")),
        # letters in the question: the options are those that go on to the end
        ("Is vitamin A) low? A)Yes, B)No", "Is vitamin A) low?", ("Yes", "No")),
        ("Is vitamin A) low A)Yes, B)No", "Is vitamin A) low", ("Yes", "No")),
        ("Is it A) left, B) right? A)Yes, B)No", "Is it A) left, B) right?", ("Yes", "No")),
        # letters in an option
        ("Why? A)Vitamin A) deficiency, B)Other", "Why?", ("Vitamin A) deficiency", "Other")),
        ("Why? A)Hepatitis B) virus, B)Other", "Why?", ("Hepatitis B) virus", "Other")),
        # spaces behind the letter, one option a line, no space before the first letter
        ("Which?\nA) CT\nB) MRI", "Which?", ("CT", "MRI")),
        ("Which?A)CT,B)MRI;C)PET", "Which?", ("CT", "MRI", "PET")),
    ],
)  # fmt: skip
def test_question_and_options_are_told_apart(problem, question, options):
    assert split_options(problem) == (question, options)


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        ("What is shown?", r"has no option 'A\)'"),
        ("B)CT, C)MRI", r"has no option 'A\)'"),
        ("What? A)CT", "has one option: a choice needs two"),
        ("What? A)CT, C)MRI", "letters its options A, C: they must be A, B, C"),
        ("What? A)CT, B)MRI, D)PET", "letters its options A, B, D"),
        ("What? A)CT, B)MRI, B)PET", "letters its options A, B, B"),
        ("What? A), B)MRI", "has an empty option A"),
        ("What? A)CT, B)  ", "has an empty option B"),
        ("A)CT, B)MRI", "has options but no question"),
    ],
)
def test_the_error_says_why_there_is_no_reading(problem, reason):
    with pytest.raises(ValueError, match=reason):
        split_options(problem)


words = (
    st.text("abc XYZA(),.-'0", min_size=1)
    .map(str.strip)
    .filter(lambda text: text and not re.search(r"A\)|, *[A-Z]\)", text))  # else it is a marker
)


@given(words.map(lambda text: text + "?"), st.lists(words, min_size=2, max_size=8))
def test_what_is_joined_in_the_published_style_is_split_again(question, options):
    lettered = (f"{letter}){text}" for letter, text in zip(ascii_uppercase, options, strict=False))
    problem = f"{question} {', '.join(lettered)}"
    assert split_options(problem) == (question, tuple(options))


@given(st.text("AB)?, \n(x"))
def test_any_text_is_read_or_refused_with_a_reason(text):
    try:
        question, options = split_options(text)
    except ValueError as error:
        assert str(error)
    else:
        assert question
        assert len(options) >= 2
        assert all(options)
