"""--exact-no-think's questions: all of them have answers that can be listed, or none is trained."""

import pytest

from data.examples import VQAExample
from evaluation.asking.listed import check_answers_fit, check_listed
from evaluation.asking.questions import Questions
from grpo.settings.resolve import resolve_config
from rewards import parse_completion
from train import run

LETTERS = VQAExample("a-0", (), "Which?", ("x", "y", "z"), "C")
YES = VQAExample("b-0", (), "Is it?", ("Yes", "No"), "B", form="yes_no")
TEXT = VQAExample("c\x1b[2J", (), "What?", (), "liver", form="text")
NUMBER = VQAExample("d-0", (), "How many?", (), "3", form="number")


@pytest.mark.parametrize("example", [LETTERS, YES])
def test_an_answer_is_listed_for_each_option_and_the_parser_reads_it(example):
    answers = Questions.answers(example)
    read = [parse_completion(text, "no_think", example.options, example.form) for text in answers]
    assert [one.choice for one in read] == list("ABC")[: len(example.options)]
    assert all(one.well_formed for one in read)


def test_rows_without_such_answers_are_counted_and_refused():
    check_listed([LETTERS, YES])
    with pytest.raises(ValueError, match=r"2 of 4 training rows have neither") as found:
        check_listed([LETTERS, TEXT, YES, NUMBER])
    told = str(found.value)
    assert "the first: c\\x1b[2J:" in told and "--only FIELD=VALUE" in told
    with pytest.raises(ValueError, match=r"c.*: an open question has no list of answers"):
        Questions.answers(TEXT)


def test_a_run_on_open_questions_ends_before_it_begins(tmp_path):
    settings = {"exact_no_think": True, "mode": "no_think", "train_json": ["phantoms:open"]}
    out = tmp_path / "run"
    with pytest.raises(ValueError, match=r"6,400 of 6,400 training rows have neither"):
        run(resolve_config({**settings, "output_dir": str(out)}))
    assert not (out / "metrics.jsonl").exists()


def test_answers_that_a_completion_has_no_room_for_are_refused():
    fits = len("<answer>Yes</answer>")
    check_answers_fit([LETTERS, YES], fits, len)
    with pytest.raises(ValueError, match=rf"={fits - 1} cuts off an answer of {fits} tokens, .*to"):
        check_answers_fit([LETTERS, YES], fits - 1, len)


@pytest.mark.command
def test_a_run_without_room_for_them_ends_before_it_begins(tmp_path):
    out = tmp_path / "run"
    settings = {"exact_no_think": True, "mode": "no_think", "train_json": ["phantoms:CT"]}
    settings |= {"max_completion_tokens": 7, "max_steps": 1, "output_dir": str(out)}
    with pytest.raises(ValueError, match="max_completion_tokens=7 cuts off an answer of 8 tokens"):
        run(resolve_config(settings))
    assert not (out / "run.json").exists() and not list((out / "eval").glob("*"))
