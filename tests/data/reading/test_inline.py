"""Options inside the question in every style: what is a list, what only looks like one."""

from string import ascii_uppercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.reading.inline import split_options, without_options
from data.reading.inline_published import OptionsError, split_published
from tests.growth import LINEAR, growth


@pytest.mark.parametrize(
    ("problem", "question", "options"),
    [
        ("Is it? (A) Yes (B) No", "Is it?", ("Yes", "No")),
        ("Is it?\n(A) Yes\n(B) No", "Is it?", ("Yes", "No")),
        ("Is it? (A)Yes, (B)No", "Is it?", ("Yes", "No")),
        ("Is it? A) Yes B) No", "Is it?", ("Yes", "No")),
        ("Which? A. the first B. the second", "Which?", ("the first", "the second")),
        ("Which? A. the first, B. the second.", "Which?", ("the first", "the second.")),
        ("Which?\nA.CT\nB.MRI", "Which?", ("CT", "MRI")),
        ("Which? A: Vitamin A, B: Vitamin C", "Which?", ("Vitamin A", "Vitamin C")),
        ("Which?\nA: CT\n\n B: MRI\n", "Which?", ("CT", "MRI")),
        ("Which grade? A: I B: II C: III", "Which grade?", ("I", "II", "III")),
        # a heading says nothing, in the published style neither
        ("Which?\nOptions:\nA. CT\nB. MRI", "Which?", ("CT", "MRI")),
        ("Which? Options: A. CT B. MRI", "Which?", ("CT", "MRI")),
        ("Which?\nAnswer Choices: (A) CT (B) MRI", "Which?", ("CT", "MRI")),
        ("Which?\nOPTIONS:\nA) CT\nB) MRI", "Which?", ("CT", "MRI")),
        ("What are the options: A) CT B) MRI", "What are the options:", ("CT", "MRI")),
        # letters in the question
        ("Is vitamin A. good? A. Yes B. No", "Is vitamin A. good?", ("Yes", "No")),
        ("Is it A) or B)? (A) A (B) B", "Is it A) or B)?", ("A", "B")),
        ("In the U. S. A. which? A. CT B. MRI", "In the U. S. A. which?", ("CT", "MRI")),
        # letters in an option: lines, else signs, tell options from them
        ("Which?\nA. E. coli\nB. C. difficile", "Which?", ("E. coli", "C. difficile")),
        ("Which? A. Vitamin A. B. Vitamin B.", "Which?", ("Vitamin A.", "Vitamin B.")),
        ("Which?\nA: type B: yes\nB: none", "Which?", ("type B: yes", "none")),
        ("Which? (A) Hepatitis (B) virus, (B) other", "Which?", ("Hepatitis (B) virus", "other")),
        # where the published style has a reading, it counts
        ("Which? A)see (A) B. x, B)other", "Which?", ("see (A) B. x", "other")),
    ],
)  # fmt: skip
def test_question_and_options_are_told_apart_in_every_style(problem, question, options):
    assert split_options(problem) == (question, options)


@pytest.mark.parametrize("style", ["{})", "({})", "{}.", "{}:"])
@pytest.mark.parametrize("between", ["\n", ", ", " "])
def test_lists_from_a_to_z_are_read_in_every_style(style, between):
    options = tuple(f"option {number}" for number in range(26))
    letters = [style.format(letter) for letter in ascii_uppercase]
    listed = between.join(f"{one} {text}" for one, text in zip(letters, options, strict=True))
    assert split_options(f"Which?\n{listed}") == ("Which?", options)


NO_LIST = [
    "Is vitamin A. good?",
    "Is vitamin A) low?",
    "Is it A) left, or B) right?",
    "Compare vitamin A. Is vitamin B. better?",
    "Which grew? A. niger, C. albicans?",
    "Is the ratio A: high?",
    "Is A:B, B:C a proof?",
    "Which? A.x B.y",
    "What does the U. S. A. do?",
    "",
]
LISTS = {
    "What? A)CT": "has one option: a choice needs two",
    "Which?(A)x(B)y": "has one option: a choice needs two, written '(A)'",
    "Which? B) CT, C) MRI": "letters its options B, C: they must be A, B, C, ...",
    "Which? (A) CT, (C) MRI": "letters its options A, C: they must be A, B, C, ...",
    "Which?\nA. CT\nC. MRI": "letters its options A, C: they must be A, B, C, ...",
    "Which?\nA: CT\nB:  ": "has options 'A:' without a question before them or a text",
    "Which?\nA. CT\nB. MRI\nC) PET": "goes on behind its last option, with C",
    "Which? A)CT, B)MRI\n(C) PET": "goes on behind its last option, with C",
    "A. CT, B. MRI": "has options 'A.' without a question before them or a text",
    "Options:\nA) CT\nB) MRI": "has options but no question before them",
    "Which?\nA. x\nB. y\nSo? (A) z (B) w": "has lists of options in two styles, '(A)' and 'A.'",
}


@pytest.mark.parametrize("problem", NO_LIST)
def test_letters_of_a_sentence_are_no_list(problem):
    with pytest.raises(OptionsError) as caught:
        split_options(problem)
    assert not caught.value.is_list


@pytest.mark.parametrize(("problem", "reason"), LISTS.items())
def test_a_list_that_cannot_be_read_is_said_to_be_one(problem, reason):
    with pytest.raises(OptionsError) as caught:
        split_options(problem)
    assert caught.value.is_list and reason in str(caught.value)


PIECES = [
    "A)",
    "(A)",
    "A.",
    "A:",
    " B)",
    ", (B)",
    "\nB.",
    " B:",
    "C.",
    ",",
    ";",
    " ",
    "\n",
    "? ",
    "x",
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
def test_any_text_is_read_or_refused_and_the_published_reading_comes_first(problem):
    try:
        published = split_published(problem)
    except OptionsError:
        published = None
    try:
        question, options = split_options(problem)
    except OptionsError as error:
        assert len(str(error)) < 300
        return
    assert published is None or published == (question, options)
    assert question and len(options) > 1 and all(text == text.strip() != "" for text in options)
    assert problem.startswith(question) or question in problem


HOSTILE = [
    *("(A) ", ", (A)", "A. ", "\nA.", "? A: x, B:", "A. x\nB. y ", ", A.", "A.", " A: ", ". A. "),
    *("(", " (", "x? (A)", "A:" + " " * 50, "U.S.A. ", "A. x, B. y, C. z? ", "Options: ", "\n"),
    *(",\n", ", ", "?(A)", ":A:", "? A. a B. b C. c "),
]


@pytest.mark.parametrize("ending", ["", "q? (A) x (B) ", "\nA. x\nB. y"])
@pytest.mark.parametrize("piece", HOSTILE)
def test_the_time_grows_with_the_text_and_not_with_its_square(piece, ending):
    assert growth(lambda text: split_options(text + ending), piece) < LINEAR


def test_many_thousands_of_letters_are_refused_with_a_short_reason():
    for piece in ("(A) ", "\nB.", " A: ", "A) "):
        with pytest.raises(OptionsError) as caught:
            split_options("q? (A)" + piece * (400_000 // len(piece)))
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("piece", ["A) ", "(A) x (B) ", "\nA. x\nB. y", "A: ", ", B", "x? A)y, B)"])
def test_taking_known_options_off_takes_a_time_that_grows_with_the_text(piece):
    assert growth(lambda text: without_options(text, ["x", "y"]), piece) < LINEAR
