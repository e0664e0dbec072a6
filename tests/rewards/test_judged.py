"""Tables of completions: what each form reads strictly and leniently, and what is right."""

import pytest

from data.examples import VQAExample
from rewards import parse_completion, token_f1
from rewards.forms import FORMS, is_right
from tests.growth import LINEAR, growth
from tests.rewards.alone import load_alone

LETTER = VQAExample("a-0", (), "Which organ?", ("Lung", "Heart", "Liver"), "B")
YES = VQAExample("a-1", (), "Is there an effusion?", ("Yes", "No"), "A", form="yes_no")
TEXT = VQAExample(
    "a-2", (), "What is it?", (), "pleural effusion", form="text", accepted=("effusions",)
)
NUMBER = VQAExample("a-3", (), "How many nodules?", (), "3", form="number")


def judged(example, text):
    """Return whether the text in an answer tag is right strictly, and leniently."""
    parsed = parse_completion(f"<answer>{text}</answer>", "no_think", example.options, example.form)
    strict = parsed.well_formed and is_right(parsed.choice, example)
    return strict, is_right(parsed.lenient_choice, example)


@pytest.mark.parametrize(
    ("example", "text", "strict", "lenient"),
    [
        (LETTER, "B", True, True),
        (LETTER, "B. Heart", True, True),  # that letter's own option, to the character
        (LETTER, "B. heart", False, True),
        (LETTER, "Heart", False, True),
        (LETTER, "It is the heart", False, True),
        (LETTER, "A", False, False),
        (YES, "yes", True, True),
        (YES, "YES.", True, True),
        (YES, " yes\n", True, True),
        (YES, "Yes, there is an effusion.", False, True),
        (YES, "The answer is: yes", False, True),
        (YES, "'Yes'", False, True),
        (YES, "A", False, False),  # no letters were shown
        (YES, "no", False, False),
        (YES, "there is no effusion", False, False),
        (TEXT, "Pleural effusion", True, True),
        (TEXT, "the pleural effusions.", True, True),
        (TEXT, "Effusion", True, True),
        (TEXT, "The answer is pleural effusion.", False, True),
        (TEXT, "**Pleural effusion**\nThere is fluid at the base.", False, True),
        (TEXT, "pleural", False, False),
        (TEXT, "no pleural effusion", False, False),
        (NUMBER, "3", True, True),
        (NUMBER, "+3.0", True, True),
        (NUMBER, "Three.", True, True),
        (NUMBER, "3 nodules", False, True),
        (NUMBER, "There are three", False, True),
        (NUMBER, "4", False, False),
        (NUMBER, "many", False, False),
    ],
)
def test_an_answer_is_right_for_the_strict_and_for_the_forgiving_reader(
    example, text, strict, lenient
):
    assert judged(example, text) == (strict, lenient)
    accuracy = load_alone(["accuracy"], "no_think")["accuracy"]
    assert accuracy(f"<answer>{text}</answer>", example) == float(strict)


STUFFED = [
    (LETTER, "A, B, C"),
    (LETTER, "B or A"),
    (LETTER, "B. Heart or C. Liver"),
    (LETTER, "Lung Heart Liver"),
    (LETTER, "Which organ? B"),
    (LETTER, "B B"),
    (YES, "yes or no"),
    (YES, "yes/no"),
    (YES, "yes no"),
    (YES, "yes, yes"),
    (YES, "Is there an effusion? Yes"),
    (TEXT, "pleural effusion or pneumothorax"),
    (TEXT, "pleural effusion, effusion"),
    (TEXT, "effusion effusion"),
    (TEXT, "What is it? pleural effusion"),
    (TEXT, "it is pleural effusion"),
    (TEXT, "pleural effusion\npneumothorax"),
    (TEXT, "pleural effusion" + " mass" * 40),
    (TEXT, "effusion </b>"),
    (NUMBER, "1 2 3"),
    (NUMBER, "2-3"),
    (NUMBER, "3 or 4"),
    (NUMBER, "3, 3"),
    (NUMBER, "How many nodules? 3"),
    (NUMBER, "one two three"),
]


@pytest.mark.parametrize(("example", "text"), STUFFED)
def test_the_key_among_other_words_earns_nothing(example, text):
    accuracy = load_alone(["accuracy"], "no_think")["accuracy"]
    assert accuracy(f"<answer>{text}</answer>", example) == 0.0


@pytest.mark.parametrize(
    ("text", "choice", "of_all"),
    [
        ("Yes", "A", "A"),
        ("NO!", "B", "B"),
        ("No. It is clear", "B", "B"),
        ("No there is not", "B", "B"),
        ("yes. No effusion is seen", "A", "A"),
        ("No, yes", "B", None),  # the first in a tag; in all of a text they must agree
        ("It is yes, not no", "A", "A"),
        ("not yes", None, None),
        ("it isn't yes", None, None),
        ("yes or no?", None, None),
        ("'yes' or 'no'", None, None),
        ("yes effusion", "A", "A"),  # a noun behind it says nothing, as it does behind "no"
        ("NO IT IS CLEAR", "B", "B"),
        ("Yes/No", None, None),
        ("Answer yes or no: no", "B", "B"),
        ("Answer: no. Or yes?", "B", "B"),
        ("no effusion", None, None),  # of what it would be the answer is the question's
        ("there is no effusion", None, None),
        ("I have no idea", None, None),
        ("a nodule, know, eyes, no-one", None, None),
        ("", None, None),
    ],
)
def test_a_forgiving_reader_takes_yes_and_no_only_where_they_answer(text, choice, of_all):
    form = FORMS["yes_no"]
    assert (form.forgiving(text, (), first=True), form.forgiving(text, (), first=False)) == (
        choice,
        of_all,
    )


def test_no_before_these_words_answers():
    words = "it there this that these those the they he she we I because since as but and so is was"
    for word in (*words.split(), "not", "if", "in", "to"):
        assert FORMS["yes_no"].forgiving(f"No {word} x", (), first=True) == "B", word


def test_every_number_up_to_ninety_nine_is_read_in_words():
    units = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    names = (units + " fifteen sixteen seventeen eighteen nineteen").split()
    for tens in ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]:
        names += [tens, *(f"{tens}-{unit}" for unit in names[1:10])]
    number = FORMS["number"]
    assert [number.committed(name, ()) for name in names] == list(map(str, range(100)))
    assert [number.forgiving(f"There are {name}.", (), first=False) for name in names] == list(
        map(str, range(100))
    )


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        *(("3", "3"), ("007", "7"), ("+7", "7"), ("\u22127", "-7"), ("-0", "0"), ("0.50", "0.5")),
        *(("3.0", "3"), (".5", "0.5"), ("1,250", "1250"), ("1,250.5", "1250.5"), ("2e3", "2000")),
        *(("1.5E-2", "0.015"), (" 3. ", "3"), ("zero", "0"), ("Forty two", "42")),
        *(("nan", None), ("inf", None), ("1e100", None), ("1e99", None), ("1e-99", None)),
        *(("5 cm", None), ("50%", None), ("1/2", None), ("12,5", None), ("1,2345", None)),
        *(("0,500", None), ("00,500", None)),
        *(("\uff13", None), ("\u00b2", None), ("1_000", None), ("3..", None), ("0x10", None)),
        *(("twenty ten", None), ("one hundred", None), ("minus two", None), ("", None)),
        *(("9" * 40, "9" * 40), ("9" * 41, None), (".", None), ("- 5", None), ("\u0663", None)),
        *(("0" * 39 + "3", "3"), ("0" * 40 + "3", None), ("1e39", "1" + "0" * 39), ("1e40", None)),
    ],
)
def test_one_number_is_read_strictly_and_written_in_one_way(text, digits):
    assert FORMS["number"].committed(text, ()) == digits
    if digits is not None:
        assert FORMS["number"].committed(digits, ()) == digits


@pytest.mark.parametrize(
    ("text", "choice", "of_all"),
    [
        ("3 nodules of 5 cm", "3", None),
        ("In T2, L4-5 and 3D: two of them", "2", "2"),
        ("5cm", "5", "5"),
        ("50% of 1,200 ml, so the answer is 600 ml", "600", "600"),
        ("2-3", "2", None),
        ("it is -3", "-3", "-3"),
        ("three and 3", "3", "3"),
        ("two nodules of 3 cm", "3", "3"),  # in words only where there are no digits
        ("two or three", "2", None),
        ("the answer is 3 or 4", "3", "3"),  # the first one behind it, whoever asks
        ("1.2.3", None, None),
        ("9" * 60, None, None),
        ("none", None, None),
    ],
)
def test_a_forgiving_reader_takes_the_number_that_is_meant(text, choice, of_all):
    form = FORMS["number"]
    assert (form.forgiving(text, (), first=True), form.forgiving(text, (), first=False)) == (
        choice,
        of_all,
    )


@pytest.mark.parametrize(
    ("key", "absolute", "relative", "right", "wrong"),
    [
        ("0.2", 0.1, 0.0, ("0.3", "0.1", ".30"), ("0.3001", "0.0999")),  # 0.2 + 0.1 > 0.3 in floats
        ("0.3", 0.1, 0.0, ("0.4", "0.2"), ("0.40000000000000000001", "0.19999999999999999999")),
        ("0", 0.3, 0.0, ("0.3", "-0.3"), ("0.30000000000000000001",)),  # the float is below 0.3
        ("0", 0.1, 0.0, ("0.1",), ("0.1000000000000000001",)),  # .. and this above 0.1
        ("0.3", 0.0, 0.1, ("0.33", "0.27"), ("0.33000000000000000001",)),  # 0.33 - 0.3 > 0.03
        ("3", 0.0, 0.1, ("3.3", "2.7"), ("3.3000000000000000001",)),  # 3 * 0.1 > 0.3
        ("0", 1e29, 0.0, ("1e29",), (f"1{'0' * 29}.1",)),  # more digits than a decimal has unasked
        (f"1{'0' * 29}.1", 0.0, 1.0, ("0",), ("-0.1",)),
        ("1,000", 0.0, 0.05, ("950", "1050"), ("949.99", "1050.01")),
        ("-10", 1.0, 0.2, ("-12", "-8"), ("-12.1", "-7.9", "10")),  # the larger of the two
        ("0", 0.0, 0.5, ("0", "-0"), ("0.0000001",)),
        ("1e30", 0.0, 0.0, ("1" + "0" * 30,), ("1" + "0" * 29 + "1", "999")),
        ("3", 0.0, 0.0, ("three",), ("3.0000000000000000000000000001", "inf", "")),
    ],
)
def test_a_number_is_right_within_the_larger_tolerance_and_at_it(
    key, absolute, relative, right, wrong
):
    tolerances = {"absolute_tolerance": absolute, "relative_tolerance": relative}
    example = VQAExample("a-9", (), "?", (), key, form="number", **tolerances)
    assert [text for text in (*right, *wrong) if is_right(text, example)] == list(right)


# --- short texts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_answer"),
    [
        ("x" * 300, True),
        ("x" * 301, False),
        (f" \n{'x' * 300}\t ", True),  # what stands around it is not counted
        ("a " * 40, True),
        ("a " * 41, False),
        ("x", True),
        ("", False),
        (" \n", False),
        ("\u00a0", False),  # these show nothing
        ("\u200b\u2060", False),
        ("\u3164", False),
        ("a\x0bb", False),  # two lines
        ("a <b", True),
        ("a < 5 > 3", True),
        ("a <b>", False),
        ("a </b>", False),
        ("a <Answer b", False),  # the parser would take it for a tag
        ("a <|end|>", False),
    ],
)
def test_a_text_is_an_answer_up_to_300_characters_and_40_words_on_one_line(text, is_answer):
    assert (FORMS["text"].committed(text, ()) is not None) is is_answer
    assert (
        FORMS["text"].forgiving(text, (), first=True) is not None
    ) is is_answer or "\x0b" in text


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("heart", "heart", "heart"),
        ("  **Heart**.  ", "Heart", "Heart"),
        ("\u201cheart.\u201d", "heart", "heart"),
        ("`heart`", "heart", "heart"),
        ("heart\n\nIt is big.\n*_*\n", "heart", "It is big"),
        ("Heart! It is big", "Heart", "Heart"),
        ("Heart? Yes\nlung. No", "Heart", "lung"),
        ("approx. 5 mm", "approx. 5 mm", "approx. 5 mm"),  # no sentence ends before a small letter
        ("So the answer is: heart. Or not?\nlung", "heart", "heart"),
        ("Answer: lung\nNo, the answer is heart\nlung", "heart", "heart"),
        ("The answer is\n**heart**\nlung", "heart", "heart"),
        ("The answer is", None, None),
        ("** **", None, None),
        ("<b>heart</b>", None, None),
        ("", None, None),
    ],
)
def test_a_forgiving_reader_takes_a_sentence_without_the_marks_around_it(text, first, last):
    form = FORMS["text"]
    assert form.forgiving(text, (), first=True) == first
    assert form.forgiving(text, (), first=False) == last


@pytest.mark.parametrize(
    ("form", "given", "message"),
    [
        ("number", {"answer": "5 cm"}, r"'5 cm' is no number as it is asked for"),
        ("number", {"answer": "3", "absolute_tolerance": -1.0}, "tolerance of -1.0 is none"),
        ("number", {"answer": "3", "relative_tolerance": float("nan")}, "tolerance of nan is none"),
        ("text", {"answer": "a\nb"}, r"'a\\nb' is no short answer: one line of at most 40 words"),
        ("text", {"answer": "a", "accepted": ("<b>a</b>",)}, "'<b>a</b>' is no short answer"),
        ("yes_no", {"answer": "A", "options": ("No", "Yes")}, r"has the options \['Yes', 'No'\]"),
        ("yes_no", {"answer": "C", "options": ("Yes", "No")}, "the answer A or B, not .* and 'C'"),
    ],
)
def test_a_key_that_no_answer_can_match_is_refused(form, given, message):
    with pytest.raises(ValueError, match=f"a-7: .*{message}.*: correct the row"):
        VQAExample(
            **{"id": "a-7", "images": (), "question": "?", "options": (), **given}, form=form
        )


# --- token F1 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("pleural effusion", 1.0),
        ("effusion", 1.0),  # the other accepted text
        ("a large pleural effusion", 0.8),  # precision 2/3, recall 1
        ("pleural pleural", 0.5),  # a word counts as often as the key has it
        ("large mass", 0.0),
        ("pleural", 2 / 3),
    ],
)
def test_token_f1_is_the_overlap_with_the_accepted_text_that_is_most_alike(text, value):
    assert token_f1(f"<answer>{text}</answer>", TEXT, "no_think") == pytest.approx(value)


def test_token_f1_of_a_malformed_completion_is_nothing():
    for text in ("pleural effusion", "<answer>pleural effusion</answer>.", "<answer></answer>"):
        assert token_f1(text, TEXT, "no_think") == 0.0


@pytest.mark.parametrize(
    ("example", "right", "wrong"), [(LETTER, "B", "A"), (YES, "yes", "no"), (NUMBER, "3", "13")]
)
def test_token_f1_is_accuracy_where_part_of_an_answer_is_nothing(example, right, wrong):
    reward = load_alone(["token_f1"], "no_think")["token_f1"]
    assert reward(f"<answer>{right}</answer>", example) == 1.0
    assert reward(f"<answer>{wrong}</answer>", example) == 0.0


# --- any text -----------------------------------------------------------------------------------

PIECES = (
    "1,000",
    "1",
    ".",
    "-",
    "yes or ",
    "no ",
    "answer is ",
    "answer: 3 ",
    "twenty ",
    "\n",
    "<b",
)


@pytest.mark.parametrize("form", FORMS)
def test_time_is_linear_in_the_completion(form):
    for piece in PIECES:
        ratio = growth(lambda text: parse_completion(text, "think", (), form), piece, 1024)
        assert ratio < LINEAR, f"{piece!r}: {ratio:.0f}"
