"""What a terminal obeys, what turns letters around and what nobody sees is shown as an escape."""

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from process.shown import shown, shown_json, shown_line

# The planes that have characters; others are not assigned, or private.
EVERY = [chr(number) for number in (*range(0x30000), *range(0xE0000, 0xE1000))]
# Format characters that have a picture of their own: signs of Arabic and of other scripts.
SEEN = re.compile(
    "[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001343f]"
)
NEVER_SEEN = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe0f\U000e0100\U000e01ef\U000e0fff"


@pytest.mark.parametrize("kind", ["Cc", "Cf", "Cs", "Zl", "Zp"])
def test_every_control_and_format_character_behind_a_latin_letter_is_an_escape(kind):
    those = [one for one in EVERY if unicodedata.category(one) == kind and one not in "\t\n"]
    kept = [one for one in those if shown(f"a{one}b") == f"a{one}b"]
    assert all(SEEN.match(one) for one in kept), list(map(hex, map(ord, kept)))


@pytest.mark.parametrize("one", NEVER_SEEN, ids=lambda one: f"{ord(one):x}")
def test_letters_and_marks_that_nobody_sees_are_escapes(one):
    assert shown(f"a{one}") == "a" + one.encode("unicode_escape").decode()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\x08", r"a\rb\x08"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066x\u2069\u200e\u200f\u061c", r"\u2066x\u2069\u200e\u200f\u061c"),
        ("\ufeffa\u200b\u2028\u2029\xad", r"\ufeffa\u200b\u2028\u2029\xad"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud83d half", r"\ud83d half"),
        ("no\u200dn\u200ce", r"no\u200dn\u200ce"),
        ("👍\ufe0f\ufe0f\ufe0e", "👍\ufe0f\\ufe0f\\ufe0e"),  # a second one carries something
    ],
)
def test_what_deceives_is_named(text, wanted):
    assert shown(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "lines\n\tand tabs",
        "µ ≥ 5 °C, 图像 ｘ",
        "می\u200cخواهم",  # Persian: its plural and its verbs need the non-joiner
        "क्\u200dष",
        "ന്\u200d",
        "👩\u200d⚕\ufe0f ❤\ufe0f 👍🏽 1\ufe0f⃣ ©\ufe0f",
        "葛\U000e0100城",
        "ᠮᠣᠩᠭᠣᠯ\u180b",
    ],
)
def test_what_languages_and_signs_need_stays(text):
    assert shown(text) == text and shown_json(text) == text


def test_one_line_stays_one():
    assert shown_line("scan.png\nerror:\tnone\x1b") == r"scan.png\nerror:\tnone\x1b"


@given(st.text(st.characters()))  # halves of surrogate pairs among them
def test_what_is_shown_stays_as_it_is(text):
    once = shown(text)
    assert shown(once) == once and shown_line(shown_line(text)) == shown_line(text)


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters())))
def test_json_is_read_back_as_it_was(value):
    line = shown_json(json.dumps(value, ensure_ascii=False))
    assert shown_line(line) == line  # it can be printed as it stands
    again = json.loads(line)
    # two halves that were apart come back as one character, as from any writer of JSON
    assert again == json.loads(json.dumps(value)) or again == value


def test_the_quick_look_misses_nothing():
    # one text of all characters is looked at in full, each alone may be passed over
    in_full = shown("".join(f"ä{one}" for one in EVERY if one not in "ä\\")).split("ä")
    escapes = [text for text in in_full if text.startswith("\\")]
    assert len(escapes) > 5000
    for text in escapes:
        one = text.encode("ascii").decode("unicode_escape")
        assert shown(f"a{one}b") == f"a{text}b"
