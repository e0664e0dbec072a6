"""Answers of every form, put together from a seed: what holds for any text, and for any key."""

import random

import pytest

from data.examples import VQAExample
from rewards.forms import FORMS, is_right
from rewards.parsing import parse_completion
from rewards.trial import trial_texts
from tests.growth import LINEAR, growth
from tests.rewards.alone import load_alone

OPTIONS = {"letter": ("Left", "Heart", "Lung"), "yes_no": ("Yes", "No")}
PIECES = (
    *("yes", "no", "No ", "3", "-", "1,000", ".", ". ", "! ", "left", "lung", "Heart", "St. Jude"),
    *("the ", "A", "B) ", "(b)", " ", "\n", " and ", "or", " answer is ", "Answer: ", "**", '"'),
    *("twenty", "-one", "%", " cm", "/", ",", ";", "\u00a0", "\u200b", "<b>", "<", "</think>"),
    *("<answer", "\u0301", "\u2212", "e3", "0.5", "not ", "\uff23", "\ud83d", "\0"),
)
SEEDS = range(3000)


def text_of(seed: int) -> str:
    rng = random.Random(seed)
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 7)))


def committed(form: str):
    """Yield each text that the form's strict reader takes, and what it takes it for."""
    for text in map(text_of, SEEDS):
        if (choice := FORMS[form].committed(text, OPTIONS.get(form, ()))) is not None:
            yield text, choice


@pytest.mark.parametrize("form", FORMS)
def test_any_text_is_read_and_judged_without_an_error(form):
    key = {"letter": "B", "yes_no": "A", "number": "3"}.get(form, "left lung")
    example = VQAExample("a-0", (), "?", OPTIONS.get(form, ()), key, form=form)
    for text in map(text_of, SEEDS):
        for whole in (text, f"<answer>{text}</answer>"):
            parsed = parse_completion(whole, "no_think", example.options, form)
            assert is_right(parsed.choice, example) in (True, False)
            assert is_right(parsed.lenient_choice, example) in (True, False)
            if parsed.lenient_choice is not None:
                assert 0 <= FORMS[form].likeness(parsed.lenient_choice, example) <= 1


@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_strictly_is_written_in_one_way_and_is_its_own_key(form):
    count = 0
    for text, choice in committed(form):
        count += 1
        example = VQAExample("a-0", (), "?", OPTIONS.get(form, ()), choice, form=form)
        _, right, cut_off, _ = trial_texts(example, "no_think")
        parsed = parse_completion(right, "no_think", example.options, form)
        assert parsed.well_formed and is_right(parsed.choice, example), text
        assert is_right(choice, example) and FORMS[form].likeness(choice, example) == 1, text
        assert not parse_completion(cut_off, "no_think", example.options, form).well_formed
        if form != "yes_no":  # whose letters are not written
            assert FORMS[form].committed(choice, example.options) == choice, text
    assert count > 20


@pytest.mark.parametrize("form", ["letter", "yes_no", "number"])
def test_where_the_strict_reader_finds_an_answer_the_forgiving_one_finds_the_same(form):
    for text, choice in committed(form):
        options = OPTIONS.get(form, ())
        assert FORMS[form].forgiving(text, options, first=True) == choice, text


@pytest.mark.parametrize("form", FORMS)
def test_a_right_answer_among_any_other_words_earns_nothing(form):
    keys = {"letter": "B", "yes_no": "A", "number": "3", "labels": "line, disc"}
    key = keys.get(form, "left lung")
    example = VQAExample("a-0", (), "Which is it?", OPTIONS.get(form, ()), key, form=form)
    accuracy, written = (
        load_alone(["accuracy"], "no_think")["accuracy"],
        FORMS[form].written(example),
    )
    words = ("liver", "no", "17", "C", "Which is it?", "mass", "or", "maybe not", written)
    for seed in range(300):
        rng = random.Random(seed)
        chosen = [written, *rng.choices(words, k=rng.randrange(1, 6))]
        rng.shuffle(chosen)
        joiner = rng.choice((" ", ", ", " or ", "/", "; ", "\n", ". ", " and "))
        text = joiner.join(chosen)
        if form == "labels" and joiner == ", " and set(chosen) == {written}:
            continue  # the labels twice are the same labels
        assert accuracy(f"<answer>{text}</answer>", example) == 0, text
        twice = f"<answer>{written}</answer><answer>{chosen[-1]}</answer>"
        assert accuracy(twice, example) == 0, twice


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piece", ["left, ", "a <b", "</answer", "\u200b", "St. Jude. A", "&%"])
def test_time_to_judge_is_linear_in_the_answer(form, piece):
    key = {"letter": "B", "yes_no": "A", "number": "3"}.get(form, "left lung")
    example = VQAExample("a-0", (), "?", OPTIONS.get(form, ()), key, form=form)

    def judge(text: str) -> None:
        parsed = parse_completion(f"<answer>{text}</answer>", "no_think", example.options, form)
        is_right(parsed.choice, example)
        if parsed.lenient_choice is not None:
            FORMS[form].likeness(parsed.lenient_choice, example)

    ratio = growth(judge, piece, 1024)
    assert ratio < LINEAR, f"{ratio:.0f}"
