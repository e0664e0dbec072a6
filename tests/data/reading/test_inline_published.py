"""Options inside the question: the published style, its odd cases, and what is no reading."""

import json
import re
from string import ascii_uppercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.reading.inline_published import split_published
from tests.growth import LINEAR, growth


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
    assert split_published(problem) == (question, options)


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
        split_published(problem)


words = (
    st.text("abc XYZA(),.-'0", min_size=1)
    .map(str.strip)
    .filter(lambda text: text and not re.search(r"A\)|, *[A-Z]\)", text))  # else it is a marker
)


@given(words.map(lambda text: text + "?"), st.lists(words, min_size=2, max_size=8))
def test_what_is_joined_in_the_published_style_is_split_again(question, options):
    lettered = (f"{letter}){text}" for letter, text in zip(ascii_uppercase, options, strict=False))
    problem = f"{question} {', '.join(lettered)}"
    assert split_published(problem) == (question, tuple(options))


@given(st.text("AB)?, \n(x"))
def test_any_text_is_read_or_refused_with_a_reason(text):
    try:
        question, options = split_published(text)
    except ValueError as error:
        assert str(error)
    else:
        assert question
        assert len(options) >= 2
        assert all(options)


SLOW_FIRST = re.compile(r"(?:(?<=[\s?.:!\"'])|^)A\)")
SLOW_LATER = re.compile(r"[,;\n]\s*([A-Z])\)")
SENTENCE_ENDS = ("?", ".", ":", "!", '"', "'", ")", "]", "\n")


def slow_split(problem):
    """What `split_published` returns, by trying every start with all letters behind it."""
    starts = list(SLOW_FIRST.finditer(problem))
    if not starts:
        raise ValueError("has no option 'A)': write the options behind it as 'A)..., B)...'")

    def preference(start):
        return problem[: start.start()].rstrip(" ").endswith(SENTENCE_ENDS), start.start()

    reasons = []
    for start in sorted(starts, key=preference, reverse=True):
        try:
            return slow_read_from(problem, start)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(reasons[0])


def slow_read_from(problem, start):
    later = list(SLOW_LATER.finditer(problem, start.end()))
    letters = "A" + "".join(match[1] for match in later)
    if len(letters) < 2:
        raise ValueError("has one option: a choice needs two, written 'A)..., B)...'")
    if letters != ascii_uppercase[: len(letters)]:
        raise ValueError(f"letters its options {', '.join(letters)}: they must be A, B, C, ...")
    begins = [start.end(), *(match.end() for match in later)]
    ends = [*(match.start() for match in later), len(problem)]
    texts = tuple(problem[a:b].strip() for a, b in zip(begins, ends, strict=True))
    if "" in texts:
        raise ValueError(f"has an empty option {letters[texts.index('')]}")
    question = problem[: start.start()].strip()
    if not question:
        raise ValueError("has options but no question before them")
    return question, texts


def outcome(split, problem):
    try:
        return split(problem)
    except ValueError as error:
        return str(error)


PIECES = [*("A)", "B)", "C)", "Z)", "A", ")", ",", ";", " ", "  ", "\n", "\t", "\u2003", "?", "x")]
PIECES += [" A)", "? A)", ", B)", "\nC)", " \n B)"]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
def test_every_text_is_read_as_by_the_slow_version_with_the_same_reason(problem):
    assert outcome(split_published, problem) == outcome(slow_split, problem)


def test_all_published_rows_are_read_as_by_the_slow_version(shared):
    files = sorted((shared / "omnimedvqa_splits").glob("*/*.json"))
    problems = [row["problem"] for file in files for row in json.loads(file.read_text("utf-8"))]
    assert len(problems) == 63_489
    for problem in set(problems):
        assert outcome(split_published, problem) == outcome(slow_split, problem)


HOSTILE = [
    *("A) ", ", A)", "A)\n", "? A)x, B)", "A) x, B) y ", "\n", " \n", ", ", "A)", "A) , B)", ",B)"),
    *("x? A)", "A)" + " " * 50, "(IQA) ", "A)x, B)y, C)z? "),
]


@pytest.mark.parametrize("ending", ["", "q? A) x, B) ", ", B) y"])
@pytest.mark.parametrize("piece", HOSTILE)
def test_the_time_grows_with_the_text_and_not_with_its_square(piece, ending):
    assert growth(lambda text: split_published(text + ending), piece) < LINEAR


def test_six_megabytes_of_markers_are_refused_with_a_short_reason():
    for piece, megabytes in (("A) ", 6), (",B)", 1)):
        with pytest.raises(ValueError) as caught:
            split_published("q? A)" + piece * (megabytes * 1_000_000 // len(piece)))
        assert len(str(caught.value)) < 300
