"""The forgiving reader: an option's text before a lone letter, and no letter that nobody meant."""

from collections import Counter

import pytest

from data.reading.readers import load_examples
from evaluation.measures.thought_classes import named_letters
from rewards.meant_letters import letters_meant
from rewards.naming import forgiving_letter, longest, named_texts
from rewards.parsing import parse_completion

OPTIONS = ("MRI", "CT", "Ultrasound", "X-ray")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("options", [OPTIONS, ()], ids=["options", "no options"])
@pytest.mark.parametrize(
    "text",
    [
        # articles and pronouns
        *("a tumor", "A tumor", "A mass in the left lobe", "A dark region, a mass", "I think so"),
        *("this is a scan", "the answer is a tumor", "The answer: A tumor", "A 45-year-old man"),
        # names
        *("Vitamin A", "vitamin c", "vit. D", "vitamins A, D and C", "Hepatitis B", "Influenza A"),
        *("Hepatitis B virus (HBV)", "hepatitis c virus", "Hepatitis A or B", "Type A and B flu"),
        *("The answer is hepatitis B", "Answer: Hepatitis B", "The answer is hemophilia A."),
        *("Type A aortic dissection", "Child-Pugh class C cirrhosis", "Stage C", "Grade B"),
        *("Group A strep", "Hemoglobin A", "protein C deficiency", "factor B", "Blood group A"),
        *("BI-RADS category D", "C. difficile", "c. difficile", "due to C. difficile", "Dr. A"),
        *(
            "B cell lymphoma",
            "T cell",
            "B cells and T cells",
            "B lines",
            "b lines",
            "D dimer is up",
        ),
        *(
            "B mode image",
            "B12 deficiency",
            "an A-line",
            "B-lines",
            "C-spine",
            "a d-dimer",
            "type-A",
        ),
        *("A 5 cm mass", "a 2 cm lesion", "A B-scan", "A T-cell", "B 3"),
        *("B/L effusion", "C/O pain", "A/P view of the chest"),
        # parts of words, abbreviations
        *("patient's", "It's a mass", "e.g. a mass", "i.e. a b.d. dose", "at 5 c. above"),
        # denied
        *("It is not B", "not option C", "neither A nor B", "rather than (c)"),
    ],
)
def test_no_letter_is_read_that_nobody_meant(text, options, first):
    assert forgiving_letter(text, options, first=first) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        # a letter alone, in any dress
        *((text, "B") for text in ("b", "B.", "(B)", "**B**", "[B]", "'B'", "\\boxed{B}", "B!")),
        # marked as one
        *((text, "B") for text in ("B) CT", "B: CT scan", "B. CT", "B) MRI", "Option B", "b) ct")),
        *(
            (text, "B")
            for text in ("The answer is B", "answer: b", "The answer is 'B'.", "Answer:B")
        ),
        *((text, "B") for text in ("The best answer is B because of MRI", "Answer is option B")),
        *((text, "B") for text in ("The right choice is (b).", "letter B", "Final answer: **B**")),
        *((text, "A") for text in ("the answer is a", "Option A shows it", "Answer: A. MRI")),
        ("THE ANSWER IS A CT", "B"),
        # an option's text
        *((text, "B") for text in ("CT", "ct.", "a CT", "A CT scan", "This is a CT scan")),
        *((text, "B") for text in ("not MRI but CT", "CT, not MRI", "there is no MRI, but a CT")),
        *(
            (text, "D")
            for text in ("It is an X-ray.", "x ray", "The X-RAY", "The answer is a X-ray")
        ),
        *(
            (text, "B")
            for text in ("CT of hepatitis (A)", "vitamin (C) deficiency in CT", "CT (B)")
        ),
        ("MRI", "A"),
        ("A MRI", "A"),
        # a letter standing alone where it can be one
        *((text, "C") for text in ("So it is C.", "C, because it is dark", "I would go with C")),
        *((text, "C") for text in ("c, not b", "C - Ultrasound", "it is c", "Therefore, C", "C\n")),
        *((text, "C") for text in ("C option", "C answer", "dark (C)", "C/D is likely")),
        *((text, "A") for text in ("A because it is dark", "A or B", "A, B", "A is right")),
        # neither
        *((text, None) for text in ("Both CT and MRI", "There is no CT", "PET", "CTs", "non-CT")),
    ],
)
def test_what_is_read_in_an_answer_tag(text, letter):
    assert forgiving_letter(text, OPTIONS, first=True) == letter
    assert parse_completion(f"<answer>{text}</answer>", "think", OPTIONS).lenient_choice == letter


def test_outside_a_tag_several_letters_or_options_name_none():
    for text in ("A or B", "(A) or (B)", "CT or MRI", "C, perhaps D"):
        assert forgiving_letter(text, OPTIONS, first=False) is None
    assert forgiving_letter("MRI shows more than CT; the answer is D", OPTIONS, first=False) == "D"


def test_the_longest_option_is_the_one_that_is_named():
    options = ("Lung", "Left lung", "No pneumonia", "Pneumonia")
    assert forgiving_letter("It shows the left LUNG", options, first=True) == "B"
    assert forgiving_letter("There is no pneumonia.", options, first=True) == "C"
    assert forgiving_letter("Signs of pneumonia", options, first=True) == "D"
    assert forgiving_letter("the left lung and the lung", options, first=True) is None


def test_a_decimal_is_one_word():
    options = ("5 cm", "1.5 cm", "15 cm")
    for text, letter in (("about 1.5 cm", "B"), ("It is 5 cm.", "A"), ("2.5 cm", None)):
        assert forgiving_letter(text, options, first=True) == letter


def test_a_letter_inside_an_options_text_is_that_options():
    options = ("Hepatitis B", "Vitamin A deficiency", "Both A and B", "Flu")
    assert forgiving_letter("The answer is hepatitis B", options, first=True) == "A"
    assert forgiving_letter("vitamin a deficiency", options, first=True) == "B"
    assert forgiving_letter("The answer is both A and B.", options, first=True) == "C"
    # an option that reads like a hedge is named only by nothing but itself
    hedge = ("CT", "MRI", "A or B")
    assert forgiving_letter("a or b", hedge, first=True) == "C"
    assert forgiving_letter("It is A or B.", hedge, first=False) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        *(
            (text, "B")
            for text in ("No", "no.", "No, it is normal", "the answer is no", "No tumor")
        ),
        ("Yes, it is", "A"),
        ("there is no doubt about it", None),
    ],
)
def test_a_no_is_an_answer_only_where_it_is_no_word_of_the_sentence(text, letter):
    assert forgiving_letter(text, ("Yes", "No"), first=True) == letter


def test_wrong_options_of_one_text_are_read_as_the_first():
    assert forgiving_letter("ct", ("MRI", "CT", "ct.", "PET"), first=True) == "B"


def test_a_thought_is_read_by_the_same_rules_but_names_what_it_denies():
    assert named_letters("A mass; vitamin A, hepatitis B, B cells", OPTIONS) == set()
    assert named_letters("It is CT, not option d", OPTIONS) == {"B", "D"}
    assert [(item.letter, item.denied) for item in letters_meant("C, not B")] == [
        ("C", False),
        ("B", True),
    ]


FORMS = (
    *("<answer>{text}</answer>", "<answer>{lower}</answer>", "<answer>{upper}.</answer>"),
    *("<answer>This is a case of {text}</answer>", "<answer>The image shows {lower}.</answer>"),
    *("<answer>A {text}</answer>", "This is a case of {text}", "{letter}) {lower}"),
)


@pytest.mark.slow
def test_every_published_right_option_is_read_right(shared):
    """17,662 test rows; before, 42 were read right and 98 as another letter (first form)."""
    root = shared / "omnimedvqa_splits"
    files = sorted((root / "test").glob("*.json"))
    rows = [row for file in files for row in load_examples(file, root)]
    questions = Counter((row.options, row.answer, row.answer_text) for row in rows)
    assert questions.total() == 17_662
    for form in FORMS:
        read = Counter()
        for (options, answer, text), count in questions.items():
            completion = form.format(
                text=text, lower=text.lower(), upper=text.upper(), letter=answer
            )
            found = parse_completion(completion, "think", options).lenient_choice
            read["right" if found == answer else found and "another"] += count
        assert read == {"right": 17_662}, form


def test_an_option_of_one_letter_or_of_marks_alone_is_never_found_as_a_text():
    # "B" stands in "B lines" and in "Hepatitis B"; as an option's text it would be found there
    assert list(named_texts("B lines, and a + in hepatitis B", ["B", "C", "+", "..."])) == []
    assert [item.letter for item in named_texts("2 lines", ["2", "C"])] == ["A"]


def test_two_options_of_one_text_are_both_found_and_name_none():
    options = ["a lung", "A Lung", "lung"]
    found = list(longest(named_texts("It shows a lung", options)))
    assert [item.letter for item in found] == ["A", "B"]
    assert forgiving_letter("It shows a lung", options, first=True) is None


def test_a_letter_and_a_full_stop_at_the_beginning_are_a_marked_letter():
    text = "B. The border is sharp, as in (C)"
    assert next((item.letter, item.sure) for item in letters_meant(text)) == ("B", True)
    assert forgiving_letter(text, OPTIONS, first=True) == "B"
    assert list(letters_meant("C. difficile")) == []
