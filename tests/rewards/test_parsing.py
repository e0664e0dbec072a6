"""The parser: a table of what counts and what does not, then laws that hold for any text."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import letters, parsing
from rewards.letters import committed_letter
from rewards.modes import MODES
from rewards.parsing import ParsedCompletion, parse_completion

OPTIONS = ("MRI", "PET", "CT", "B or C")


@pytest.mark.parametrize(
    ("mode", "text", "choice"),
    [
        ("no_think", "<answer>C</answer>", "C"),
        ("no_think", "<answer>c</answer>", "C"),
        ("no_think", "<answer>(c)</answer>", "C"),
        ("no_think", "<answer>C.</answer>", "C"),
        ("no_think", "<answer>C)</answer>", "C"),
        ("no_think", "<answer>C:</answer>", "C"),
        ("no_think", "<answer> \n C\t</answer>", "C"),
        ("no_think", " \r\n<answer>C</answer>\n", "C"),
        ("no_think", "<answer>C)CT</answer>", "C"),
        ("no_think", "<answer>C) CT</answer>", "C"),
        ("no_think", "<answer>(C) CT</answer>", "C"),
        ("no_think", "<answer>c. CT</answer>", "C"),
        ("no_think", "<answer>D) B or C</answer>", "D"),  # an option that reads like a hedge
        ("think", "<think>dark</think><answer>A</answer>", "A"),
        ("think", "<think>dark</think>\n\n<answer>A</answer>", "A"),
        ("think", "<think>a < b > c, <b>bold</b></think><answer>A</answer>", "A"),
        ("think", "<think>骨折</think><answer>A</answer>", "A"),
        ("think", "<think>some <thinking> aloud</think><answer>A</answer>", "A"),
        ("think_after", "<answer>B</answer> <think>because</think>", "B"),
    ],
)
def test_well_formed(mode, text, choice):
    parsed = parse_completion(text, mode, OPTIONS)
    assert parsed.well_formed
    assert parsed.choice == parsed.lenient_choice == choice


THOUGHT = "<think>dark</think>"


@pytest.mark.parametrize(
    ("mode", "text", "choice", "lenient"),
    [
        # repeated tags: they commit to no answer, even when they agree
        ("no_think", "<answer>A</answer><answer>B</answer>", None, "B"),
        ("no_think", "<answer>A</answer><answer>A</answer>", None, "A"),
        ("no_think", "<answer><answer>A</answer>", None, "A"),
        ("no_think", "<answer>A</answer></answer>", None, "A"),
        ("think", f"{THOUGHT}{THOUGHT}<answer>A</answer>", "A", "A"),
        ("think", "<think><think>x</think></think><answer>A</answer>", "A", "A"),
        # hedged answers
        ("no_think", "<answer>A or B</answer>", None, "A"),
        ("no_think", "<answer>A, B</answer>", None, "A"),
        ("no_think", "<answer>A B C D</answer>", None, "A"),
        ("no_think", "<answer>AB</answer>", None, None),
        ("no_think", "<answer>C)CT or MRI</answer>", None, "C"),
        # the right letter with another option's text, or none
        ("no_think", "<answer>C)MRI</answer>", None, "C"),
        ("no_think", "<answer>C) ct</answer>", None, "C"),
        ("no_think", "<answer>C CT</answer>", None, "C"),
        ("no_think", "<answer>CCT</answer>", None, None),
        ("no_think", "<answer>CT</answer>", None, "C"),
        ("no_think", "<answer>the answer is b</answer>", None, "B"),
        # a letter beyond the options names nothing
        ("no_think", "<answer>E</answer>", None, None),
        ("no_think", "<answer>E or B</answer>", None, "B"),
        # unbalanced and doubled marks
        ("no_think", "<answer>(C</answer>", None, "C"),
        ("no_think", "<answer>C))</answer>", None, "C"),
        ("no_think", "<answer>C.)</answer>", None, "C"),
        # tags in the thought, hidden by case or attributes too
        ("think", "<think><answer>B</answer></think><answer>A</answer>", None, "A"),
        ("think", "<think>x <answer> y</think><answer>A</answer>", None, "A"),
        ("think", "<think>x <ANSWER>B</ANSWER></think><answer>A</answer>", None, "A"),
        ("think", "<think>x <answer id=1></think><answer>A</answer>", None, "A"),
        ("think", "<think>x <answer y</think><answer>A</answer>", None, "A"),
        # nested
        ("think", "<think>dark<answer>A</answer></think>", "A", "A"),
        ("think_after", "<answer>A<think>dark</think></answer>", None, "A"),
        ("think", "<answer><think>dark</think>A</answer>", None, "A"),
        # empty
        ("no_think", "", None, None),
        ("no_think", "<answer></answer>", None, None),
        ("no_think", "<answer> \n</answer>", None, None),
        ("think", "<think></think><answer>A</answer>", "A", "A"),
        ("think", "<think> \n\t</think><answer>A</answer>", "A", "A"),
        ("think", "<think>\u200b\u00a0</think><answer>A</answer>", "A", "A"),
        ("think", "<think>\u3164\u2800\ufe0f\u0301</think><answer>A</answer>", "A", "A"),
        ("think_after", "<answer>A</answer><think></think>", "A", "A"),
        # unclosed, or closed before it opens
        ("no_think", "<answer>A", None, "A"),
        ("no_think", "A</answer>", None, "A"),
        ("no_think", "<answer>A<answer>", None, "A"),
        ("no_think", "</answer>A<answer>", None, "A"),
        ("think", "<think>dark<answer>A</answer>", "A", "A"),
        ("think", "<think>dark</think><answer>A</answer", None, "A"),
        # look-alikes: full-width and Cyrillic letters, brackets, tags; other kinds of space
        ("no_think", "<answer>Ｃ</answer>", None, None),
        ("no_think", "<answer>С</answer>", None, None),
        ("no_think", "<answer>（C）</answer>", None, "C"),
        ("no_think", "<answer>C\u0301</answer>", None, "C"),
        ("no_think", "＜answer＞C＜/answer＞", None, "C"),
        ("no_think", "<аnswer>C</аnswer>", None, "C"),
        ("no_think", "<answer>\u00a0C</answer>", None, "C"),
        ("no_think", "<answer>C\u200b</answer>", None, "C"),
        ("no_think", "\ufeff<answer>C</answer>", "C", "C"),
        ("no_think", "<answer>C</answer>\u00a0", "C", "C"),
        # case and attributes
        ("no_think", "<ANSWER>C</ANSWER>", None, "C"),
        ("no_think", "<ANSWER>A or B</ANSWER>", None, "A"),
        ("no_think", "<Answer>C</answer>", None, "C"),
        ("no_think", "<answer >C</answer>", None, "C"),
        ("no_think", '<answer id="1">C</answer>', None, "C"),
        ("no_think", "<answer/>C</answer>", None, "C"),
        # other tags than the mode's, or the wrong order
        ("no_think", f"{THOUGHT}<answer>C</answer>", "C", "C"),
        ("think", "<answer>C</answer>", "C", "C"),
        ("think", f"<answer>C</answer>{THOUGHT}", "C", "C"),
        ("think_after", f"{THOUGHT}<answer>C</answer>", "C", "C"),
        # text outside
        ("no_think", "It is <answer>C</answer>", "C", "C"),
        ("no_think", "<answer>C</answer>.", "C", "C"),
        ("no_think", "<answer>unclear</answer> A or B", None, None),  # none of these is in the tag
        ("think", f"<answer>unclear</answer>{THOUGHT} A or B", None, None),
        ("no_think", "<answer>C</answer><|im_end|>", "C", "C"),
        ("think", f"{THOUGHT} so <answer>C</answer>", "C", "C"),
        ("no_think", "<answers>C</answers>", None, "C"),
        # no tags at all
        ("no_think", "C", None, "C"),
        ("no_think", "(c)", None, "C"),
        ("no_think", "The answer is B.", None, "B"),
        ("no_think", "It is B or C.", None, None),
        ("no_think", "It is A or C.", None, None),
        ("no_think", "a B-scan of the patient's eye", None, None),
    ],
)
def test_malformed(mode, text, choice, lenient):
    parsed = parse_completion(text, mode, OPTIONS)
    assert not parsed.well_formed
    assert (parsed.choice, parsed.lenient_choice) == (choice, lenient)


def test_the_rationale_is_the_text_of_the_only_thought():
    text = "<think> dark,\n round </think><answer>A</answer>"
    assert parse_completion(text, "think").rationale == "dark,\n round"
    assert parse_completion("<answer>A</answer>", "no_think").rationale is None
    assert parse_completion("<think>x<think>y</think>", "think").rationale is None


def test_without_options_any_letter_counts_and_no_text_behind_it():
    assert parse_completion("<answer>Z</answer>", "no_think").well_formed
    assert not parse_completion("<answer>C)CT</answer>", "no_think").well_formed


def test_an_unknown_mode_is_the_callers_mistake():
    with pytest.raises(ValueError, match=r"unknown mode 'hum': use one of think"):
        parse_completion("<answer>A</answer>", "hum")


@pytest.mark.parametrize("letter", "ABCD")
@pytest.mark.parametrize("form", ["{}", "({})", "{})", "{}.", "{}:"])
def test_every_letter_and_form_commits(letter, form):
    assert committed_letter(form.format(letter), OPTIONS) == letter
    assert committed_letter(form.format(letter.lower()), OPTIONS) == letter


# Pieces that almost make a completion, and whole ones with a piece too many: random text alone
# would never hold a tag.
TAGS = ("<think>", "</think>", "<answer>", "</answer>", "</THINK>", "<answer")
OTHERS = (
    "<",
    ">",
    "/",
    "A",
    "b",
    "(C)",
    "C)CT",
    " ",
    "\n",
    "\u00a0",
    "Ｃ",
    "\ud800",
    "\x00",
    "dark",
    "CT",
    "not ",
    "answer is ",
    "a ",
)
PIECES = st.sampled_from(TAGS + OTHERS)
WHOLE = st.builds(
    "{}<think>{}</think>{}<answer>{}</answer>{}".format,
    *[st.lists(PIECES, max_size=1).map("".join)] * 5,
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join), WHOLE)
MODE_NAMES = st.sampled_from(sorted(MODES))


@given(TEXTS, MODE_NAMES, st.sampled_from([(), OPTIONS[:2], OPTIONS]))
def test_any_text_is_read_without_an_error(text, mode, options):
    parsed = parse_completion(text, mode, options)
    assert isinstance(parsed, ParsedCompletion)
    if parsed.well_formed:
        assert parsed.choice is not None
        assert parsed.choice == parsed.lenient_choice
    if options:
        assert {parsed.choice, parsed.lenient_choice} <= {None, *"ABCD"[: len(options)]}


def split_by_hand(text: str, mode: str) -> tuple[list[str], str] | None:
    """An independent slow reading: cut at the expected tags in turn, with no regular expression."""
    contents, outside, rest = [], "", text
    for name in MODES[mode].tags:
        before, found, rest = rest.partition(f"<{name}>")
        content, closed, rest = rest.partition(f"</{name}>")
        if not (found and closed):
            return None
        outside += before
        contents.append(content)
    return contents, outside + rest


@given(TEXTS, MODE_NAMES)
def test_well_formed_agrees_with_an_independent_reading(text, mode):
    split = split_by_hand(text, mode)
    expected = False
    if split is not None:
        contents, outside = split
        named = dict(zip(MODES[mode].tags, contents, strict=True))
        tag_starts = ("<think", "</think", "<answer", "</answer")
        inner = "\n".join([*contents, outside]).lower()
        expected = (
            outside.strip(" \t\n\r\f\v") == ""
            and not any(re.search(start + r"(?![a-z0-9_])", inner) for start in tag_starts)
            and named.get("think", "x").strip().strip("\x00\ud800") != ""
            and committed_letter(named["answer"]) is not None
        )
    thought = (split and dict(zip(MODES[mode].tags, split[0], strict=True)).get("think")) or ""
    if thought.isascii() or "\ud800" in thought:  # what is visible beyond ASCII: the table's
        assert parse_completion(text, mode).well_formed == expected


MEGABYTE = 2**20
ADVERSARIAL = {
    "open tags": "<answer>",
    "closed tags": "</answer>",
    "cut tags": "<answer",
    "pairs": "<answer>A</answer>",
    "nested": "<think><answer>",
    "angle brackets": "<",
    "closing slashes": "</",
    "almost a tag": "<answe",
    "spaces": " ",
    "letters alone": "A ",
    "one long word": "A",
    "brackets": "(",
    "no-break spaces": "\u00a0",
    "one tag and its attributes": "x=1 ",
    "options": "CT ",
    "options inside others": "B or C or C, ",
    "denied": "not A, no CT, ",
    "marked": "option B (c) ",
}


@pytest.mark.slow
@pytest.mark.parametrize("unit", ADVERSARIAL.values(), ids=ADVERSARIAL)
@pytest.mark.parametrize("around", ["{}", "<answer {}", "<think>{}</think><answer>A</answer>"])
def test_a_megabyte_of_adversarial_text_is_read_in_linear_time(unit, around):
    # quadratic time would be some 10^12 steps, hours: that this line ends is its assertion
    parse_completion(around.format(unit * (MEGABYTE // len(unit))), "think", OPTIONS)
    # and counted: four times the text, at most four times the calls made from Python
    small, large = (calls_made(around.format(unit * (4000 * times))) for times in (1, 4))
    assert large <= 4 * small + 100


def calls_made(text: str) -> int:
    """Return how many functions, Python's own included, are called while ``text`` is parsed."""
    count = 0

    def on_event(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        parse_completion(text, "think", OPTIONS)
    finally:
        sys.setprofile(None)
    return count


def test_no_regular_expression_can_back_up():
    # every unbounded quantifier is possessive, so an attempt costs what it consumes; and _TAG's
    # attempts start at "<", which its quantifier cannot consume, so no character is read twice
    patterns = [value for module in (parsing, letters) for value in vars(module).values()]
    patterns = [value.pattern for value in patterns if isinstance(value, re.Pattern)]
    assert len(patterns) == 3
    for pattern in patterns:
        literal = re.sub(r"\\.", "", pattern)  # an escaped star is no quantifier
        literal = re.sub(r"\[[^]]*\]", "c", literal)
        assert all(found in ("*+", "++") for found in re.findall(r"[*+]\+?|\{\d*,\}", literal))
    assert parsing._TAG.pattern.endswith("[^<>]*+>?")
