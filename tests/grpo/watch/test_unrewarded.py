"""A first step that earns nothing says why, with an example and what to do."""

import pytest

from grpo.settings.config import GRPOConfig
from grpo.watch.first_completions import first_completions
from grpo.watch.unrewarded import why_unrewarded
from tests.grpo.watch.made_up import LETTER, NUMBER, TEXT, YES_NO, answered, first_step

pytestmark = pytest.mark.model  # imports torch

CONFIG = GRPOConfig(mode="no_think")
WITH_FORMAT = {"accuracy": None, "format": None}


def said(groups, *, config=CONFIG, **more):
    return why_unrewarded(first_step(groups, mode=config.mode, **more), config)


@pytest.mark.parametrize("rewards", [None, WITH_FORMAT])
def test_a_right_answer_is_enough_for_silence(rewards):
    assert said([(LETTER, [*answered("B"), "no tag"])], rewards=rewards) is None


def test_a_format_that_is_never_kept_is_told_with_the_tags_and_an_example():
    text = said([(LETTER, ["It is B.", "B", "<answer>B", ""])])
    assert text.startswith("no completion of the first step was rewarded: of 4, all break the")
    assert "(<answer>..</answer>, once each and nothing else); start from a model" in text
    assert "--method sft" in text
    assert text.splitlines()[1:] == ["  format: CT-7 (key: B, Heart): It is B."]


def test_completions_that_are_cut_off_need_room_first():
    text = said([(LETTER, ["It is", "The"])], truncated=True)
    assert text.splitlines()[0].endswith(
        "most are cut at 256 tokens: raise --max-completion-tokens"
    )


def test_the_tags_of_the_runs_mode_are_named_and_sft_teaches_no_thought():
    text = said([(LETTER, answered("B", "C"))], config=GRPOConfig(mode="think"))
    assert "<think>..</think> then <answer>..</answer>" in text and "sft" not in text


def test_answers_that_parse_and_are_wrong_are_told_apart():
    text = said([(LETTER, answered("A", "C")), (NUMBER, answered("2", "5"))])
    assert "of 4, all keep the format and are wrong; start with easier questions" in text
    assert text.splitlines()[1:] == ["  wrong: CT-7 (key: B, Heart): <answer>A</answer>"]


@pytest.mark.parametrize(
    ("example", "answer"),
    [
        (TEXT, "B"),
        (TEXT, "yes"),
        (TEXT, "4"),
        (LETTER, "the heart"),
        (NUMBER, "many"),
        (YES_NO, "A"),
    ],
)
def test_an_answer_of_another_form_than_the_key_is_told_whatever_the_two_are(example, answer):
    text = said([(example, answered(answer, answer))])
    assert "of 2, all keep the tags around an answer of another form than the key's" in text
    assert f"  form: {example.id} (key: {example.answer}" in text
    assert text.endswith(f"<answer>{answer}</answer>") and "--check-data" in text


@pytest.mark.parametrize(
    ("example", "answer"), [(TEXT, "right lung"), (NUMBER, "7"), (YES_NO, "no"), (LETTER, "(c)")]
)
def test_a_wrong_answer_of_the_keys_form_is_wrong_whatever_the_form(example, answer):
    assert "all keep the format and are wrong" in said([(example, answered(answer, answer))])


def test_where_only_the_format_earns_it_is_still_told_that_nothing_is_right():
    text = said([(TEXT, answered("A", "B"))], rewards=WITH_FORMAT)
    assert text.startswith("no completion of the first step is right: of 2, all keep the tags")


def test_several_reasons_have_their_counts_an_example_each_and_the_cure_of_the_commonest():
    groups = [
        (LETTER, ["B?", *answered("Lung", "A", "C")]),
        (TEXT, answered("a", "x y", "z z", "z")),
    ]
    text = said(groups)
    assert "of 8, 1 break the format" in text and ", 4 keep the format and are wrong" in text
    assert "3 keep the tags around" in text and "easier questions" in text
    assert [line.split(":")[0] for line in text.splitlines()[1:]] == [
        "  format",
        "  form",
        "  wrong",
    ]


def test_rewards_of_ones_own_are_named_and_their_penalties_are_no_reward():
    own = {"brief": lambda *_: -1.0}
    text = said([(LETTER, answered("B", "B"))], rewards=own)
    assert "was rewarded: of 2, all keep the format and earn nothing by brief" in text
    own = {"brief": lambda *_: 0.5}
    assert said([(LETTER, ["no tags", "none"])], rewards=own) is None


def test_what_a_policy_writes_is_shown_and_not_obeyed():
    text = said([(LETTER, ["\x1b[2J\nwarning: \u202e" + "x" * 10_000] * 2)])
    assert "\x1b" not in text and "\u202e" not in text and r"\x1b[2J\nwarning: \u202e" in text
    assert len(text.splitlines()) == 2 and max(map(len, text.splitlines())) < 400


def test_three_first_completions_with_what_was_read_and_what_each_reward_said():
    groups = [
        (LETTER, [*answered("B"), "none"]),
        (TEXT, ["It shows the liver", *answered("Left lung")]),
    ]
    lines = first_completions(first_step(groups, rewards=WITH_FORMAT)).splitlines()
    assert lines[0] == "the first rollout, 3 of its 4 completions (rollouts.jsonl)"
    assert lines[1:3] == [
        "  CT-7 (key: B, Heart): <answer>B</answer>",
        "    read: B, Heart (leniently: B, Heart); accuracy 1, format 1",
    ]
    assert lines[3] == "  slake-3 (key: left lung): It shows the liver"
    assert lines[4].startswith("    read: nothing, not in its form (leniently: ")
    assert lines[4].endswith("accuracy 0, format 0")
    assert lines[5] == "  CT-7 (key: B, Heart): none"
    assert len(lines) == 7


def test_no_completion_at_all_is_shown_as_nothing():
    lines = first_completions(first_step([(LETTER, ["", ""])])).splitlines()
    assert lines[1] == "  CT-7 (key: B, Heart): nothing"
    assert lines[2] == "    read: nothing, not in its form (leniently: nothing); accuracy 0"
