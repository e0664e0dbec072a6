"""What a person reads of a question of any form: its key in words, and what was chosen."""

import pytest

from evaluation.report.evaluation_page import answers_shown
from evaluation.report.in_words import in_words, key_in_words
from evaluation.report.left_out import LeftOut
from evaluation.report.pictures import ReportImages
from evaluation.report.rollout_groups import check_rollout, question_part
from evaluation.report.summary_text import sample_completions
from tests.evaluation.mixed import answered

pytestmark = pytest.mark.unit


def test_the_key_is_shown_in_words():
    rows = [item.to_json() for item in answered()]
    assert [key_in_words(row) for row in rows] == [
        "A", "B", "Yes", "No", "left lung, or left side", "heart", "3, give or take 0.5", "10"
    ]  # fmt: skip
    relative = {**rows[7], "relative_tolerance": 0.05}
    assert key_in_words(relative) == "10, give or take 5 %"
    older = {name: value for name, value in rows[0].items() if name != "form"}
    assert key_in_words(older) == "A"  # of a version before forms


def test_what_was_chosen_is_shown_in_words_and_what_is_odd_as_it_stands():
    rows = [item.to_json() for item in answered()]
    assert [in_words(row, row["choice"]) for row in rows[:4]] == ["A", "A", "Yes", None]
    assert in_words(rows[2], "Q") == "Q" and in_words(rows[2], "yes") == "yes"
    assert in_words({"options": ["Yes", "No"], "form": "essay"}, "B") == "B"


def test_a_question_shows_its_options_only_where_they_were_shown():
    rows = [item.to_json() for item in answered()]
    assert "A) CT" in question_part(rows[0]) and "right: A" in question_part(rows[0])
    assert ")" not in question_part(rows[2]).partition("right")[0]
    assert "right: Yes" in question_part(rows[2])
    assert "right: left lung, or left side" in question_part(rows[4])


def test_printed_samples_show_the_key_and_no_empty_line_of_options():
    text = sample_completions(answered(), 8)
    assert "wrong, the answer is No, not well-formed" in text
    assert "wrong, the answer is heart" in text and "wrong, the answer is B" in text
    assert "A) Yes" not in text
    assert not any(line and not line.strip() for line in text.splitlines())


def test_a_page_shows_answers_of_every_form():
    pictures = ReportImages(None, None, LeftOut())
    page = "\n".join(answers_shown(answered(), pictures))
    for words in ("right: left lung, or left side", "right: Yes", "Left lung", "3.4"):
        assert words in page


ROLLOUT = {
    **{"step": 1, "index": 0, "completion_tokens": 3, "id": "a", "question": "?", "answer": "x"},
    **{"completion": "x", "choice": None, "reward": 0.0, "advantage": 0.0, "images": []},
    **{"options": [], "rewards": {}},
}


@pytest.mark.parametrize(
    "wrong",
    [{"form": 1}, {"accepted": "x"}, {"accepted": [1]}, {"absolute_tolerance": "much"}],
)
def test_a_rollout_whose_key_is_of_another_kind_is_none(wrong):
    check_rollout({**ROLLOUT, "form": "text", "accepted": ["y"], "relative_tolerance": 0.1})
    with pytest.raises(TypeError):
        check_rollout({**ROLLOUT, **wrong})
