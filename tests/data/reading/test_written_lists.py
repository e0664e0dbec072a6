"""Rows written from a known question, options and key: reading gives exactly these, or refuses.

The texts are those that mislead: names with initials, genera, decimals, isomers, letters, labels of
panels. A wrong list that is accepted is worse than any number of rows that are refused.
"""

import random
import re
from string import ascii_uppercase

import pytest

from data.reading.families import RowError, read_row

PLAIN = "Edema|Left lung|1.5 mm|2.5 cm, 3 cm|Yes|No|II|IV|Stage I|10%|5-6 mm (small)|x; y|pH 7.4"
PLAIN += "|red, blue, and green|None of the above|end.|T2: bright|HLA-B|T1 + T2|A and B|(1)"
MISLEADING = "T. gondii|E. coli|C. albicans|B. fragilis|A. niger|(A)-isomer|(B)-isomer|Vitamin A"
MISLEADING += "|vitamin C.|Hepatitis B|Type (B)|Group A, B|I|A|B|C|b|a.|A.D. 200|U.S.A.|Ca: 2.1"
MISLEADING += "|K: 4, Na: 140|Grade A: mild|B: cells|A) and B)|a) first|(a) first|C: complement"
MISLEADING += "|Dr. B. Smith|J. B. Smith|M. A. Jones|L5. S1|St. B.|is it?|? unknown|1)|A:B ratio"
MISLEADING += "|ratio B: A|Fig. B|vit. C, D|C. diff, E. coli|No. B|option B|(R)-thalidomide"
QUESTIONS = [
    "What is shown?",
    "Which is true? Think.",
    "What is the grade:",
    "1. What?",
    "Is vitamin A: low?",
    "Vitamin A: which source?",
    "Which of T. gondii, A. niger is it?",
    "In A.D. 200, what was found?",
    "Name the (A)-isomer's partner.",
    "Patient A. Which one?",
    "Which is it, A or B?",
    "Is it (A) or (B)?",
    "Group A. vs group B. Which wins?",
    "Given A) and B), what follows?",
    "Which vitamin? A. or B.?",
    "Hepatitis A, B: which?",
    "See Fig. A. What is marked?",
    "Findings:\nA. mass\nwhat else?",
    "Is lead A: up, lead B: down?",
    "Compare (A) CT and (B) MRI. Which is better?",
    "Panels: (A) CT (B) MRI. Which shows it?",
    "A. B. Smith saw what?",
    "The image (A) shows what?",
]
STYLES = ["{}){}", "{}) {}", "({}) {}", "({}){}", "{}. {}", "{}.{}", "{}: {}", "{}:{}"]
BETWEEN = ["\n", ", ", " ", "; ", ",\n", ".\n"]
LEADS = ["\n", " ", "\nOptions:\n", " Options: ", "\nAnswer Choices: "]


def written(draw: random.Random, texts: list[str]) -> tuple[str, list[str], str]:
    """Return a question, its options, and both in one text."""
    options = draw.sample(texts, draw.choice([2, 2, 3, 4, 4, 5, 6]))
    question, style = draw.choice(QUESTIONS), draw.choice(STYLES)
    listed = map(style.format, ascii_uppercase, options)
    return question, options, question + draw.choice(LEADS) + draw.choice(BETWEEN).join(listed)


@pytest.mark.parametrize("seed", range(4))
def test_a_list_is_read_as_it_was_written_or_refused(seed):
    draw = random.Random(seed)
    texts = (PLAIN + "|" + MISLEADING).split("|")
    for _ in range(700):
        question, options, problem = written(draw, texts)
        key = draw.choice(ascii_uppercase[: len(options)])
        try:
            row = read_row({"problem": problem, "solution": key})
        except RowError:
            continue
        read = [text.rstrip(" .,;") for text in row.options]  # signs between two are no part
        assert read == [text.rstrip(" .,;") for text in options], problem
        assert row.question.removesuffix(" Options:") == question, problem
        assert (row.form, row.answer) == ("letter", key)


def test_a_key_that_is_a_text_is_the_option_that_was_written_with_it():
    draw = random.Random(11)
    for _ in range(700):
        _, options, problem = written(draw, (PLAIN + "|" + MISLEADING).split("|"))
        place = draw.randrange(len(options))
        try:
            row = read_row({"problem": problem, "solution": options[place]})
        except RowError:
            continue
        # a list that is none, "A:x B:y", leaves an open question with the right text
        assert row.form in ("text", "number", "yes_no") or row.answer == ascii_uppercase[place]


def test_lists_of_plain_texts_are_read_and_not_refused():
    draw = random.Random(5)
    read = 0
    for style in ("{})", "({})", "{}.", "{}:"):
        for between in ("\n", ", ", " "):
            for _ in range(20):
                options = draw.sample(PLAIN.split("|"), 4)
                marks = (f"{style.format(one)} " for one in ascii_uppercase)
                listed = between.join(
                    mark + text for mark, text in zip(marks, options, strict=False)
                )
                row = {"problem": f"What is shown?\n{listed}", "solution": "C"}
                content = read_row(row)
                assert list(content.options) == options and content.answer == "C"
                read += 1
    assert read == 240


DOUBTFUL = {
    "Which? A)CT, B)MRI C)PET": "goes on behind its last option, with C",
    "Which? A)Soft. B)Hard, C)Both D)None": "goes on behind its last option, with D",
    "Which?\nA. CT\nB. MRI, C. PET": "goes on behind its last option, with C",
    "Which? A. A. niger, B. C. albicans": "has options 'A.' without a question before them",
    "Which? A. M. A. Jones; B. St. John": "has",
    "Which?\n(A) (A)-isomer\n(B) (B)-isomer": None,
    "Which grew?\nA. A. niger\nB. C. albicans": None,
    "Which? A) A) and B), B) one": "has A) twice where its options begin",
    "Panels: (A) CT (B) MRI. Which shows it?": "a question at the end of its last option",
    "Panels: (A) CT (B) MRI. Which? A.x B.y": "has a question in its option B",
    "Which?\nA. CT\nB. MRI\nAnswer with the letter.": "has a line behind its last option",
    "Which? A)CT, B)MRI\nAnswer with the letter.": "has a line behind its last option",
    "Which? A. CT B. MRI. Please choose one.": "has an instruction behind its last option",
    "Which? A. CT B. MRI Answer with the letter": "has an instruction behind its last option",
    "Which?\nA. B. Smith B. x": "has",
    "Which? A. x; B. y; C. C. difficile, D. coli": "by commas and by semicolons",
    "Which? A: type B: yes, B: none": "another letter in its option A",
}


@pytest.mark.parametrize(("problem", "reason"), DOUBTFUL.items())
def test_a_list_that_may_be_another_is_refused_and_says_why(problem, reason):
    if reason is None:
        options = re.findall(r"\n\(?[AB][.)] (.+)", problem)
        assert list(read_row({"problem": problem, "solution": "B"}).options) == options
        return
    with pytest.raises(RowError, match=re.escape(reason)):
        read_row({"problem": problem, "solution": "B"})
