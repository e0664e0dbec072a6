"""Several labels at once: right are all of them and no other, in any order."""

import pytest

from data.examples import VQAExample
from rewards import token_f1
from rewards.forms import FORMS, is_right

EXAMPLE = VQAExample("a-0", (), "Which findings?", (), "Pleural effusion, line", form="labels")
LABELS = FORMS["labels"]


@pytest.mark.parametrize(
    ("text", "choice", "right"),
    [
        ("pleural effusion, line", "pleural effusion, line", True),
        (" LINE,pleural  effusion \n", "LINE, pleural  effusion", True),
        ("line, line, pleural effusion", "line, line, pleural effusion", True),  # one set
        ("line", "line", False),  # one is missing
        ("line, pleural effusion, mass", "line, pleural effusion, mass", False),  # one too many
        ("line and pleural effusion", "line and pleural effusion", False),
        ("line; pleural effusion", "line; pleural effusion", False),
        ("line,, pleural effusion", None, False),
        ("line, pleural effusion,", None, False),
        ("The lines, pleural-effusion.", "The lines, pleural-effusion.", True),
        ("line,\npleural effusion", None, False),
        ("line, " * 400 + "pleural effusion", None, False),
        ("", None, False),
        (" , ", None, False),
        ("line, pleural effusion, \u00a0", None, False),
        ("line, pleural effusion</b>", None, False),
        ("line, pleural effusion</answer", None, False),
    ],
)
def test_the_strict_reading_is_the_labels_between_commas(text, choice, right):
    assert LABELS.committed(text, ()) == choice
    assert is_right(choice, EXAMPLE) is right


@pytest.mark.parametrize(
    "text",
    ["line and pleural effusion", "- \npleural effusion\nline".removeprefix("- "),
     "Line; pleural effusion.", "line, pleural effusion,"],
)  # fmt: skip
def test_the_lenient_reading_takes_other_separators_too(text):
    assert is_right(LABELS.forgiving(text, (), first=True), EXAMPLE)


def test_labels_have_at_most_2000_characters_without_what_is_around_them():
    assert LABELS.committed(f" {'x' * 2000}\n", ()) is not None
    assert LABELS.committed("x" * 2001, ()) is None


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("line; . ; disc", "line, disc"),
        (" line \n", "line"),
        ("sand, Band AND disc", "sand, Band, disc"),
    ],
)
def test_the_lenient_reading_leaves_out_what_is_empty_and_keeps_words_whole(text, labels):
    assert LABELS.forgiving(text, (), first=False) == labels


@pytest.mark.parametrize("text", ["", " ,;\n", "and"])
def test_where_no_label_is_there_is_no_lenient_answer(text):
    assert LABELS.forgiving(text, (), first=False) is None


def test_labels_are_text_and_nobody_guesses_them_at_a_known_rate():
    assert (EXAMPLE.kind, LABELS.chance(EXAMPLE)) == ("text", None)


@pytest.mark.parametrize(
    ("text", "value"),
    [("line, pleural effusion", 1.0), ("line", 2 / 3), ("mass", 0.0), ("line, line, mass", 0.5)],
)
def test_token_f1_counts_labels_and_not_their_words(text, value):
    assert token_f1(f"<answer>{text}</answer>", EXAMPLE, "no_think") == pytest.approx(value)


def test_a_key_without_a_label_is_refused():
    with pytest.raises(ValueError, match=r"'a,,b' are no labels between commas"):
        VQAExample("a-0", (), "Which?", (), "a,,b", form="labels")
