"""Each form of answer: what is asked for is what the strict parser reads, and is right."""

import pytest

from data.examples import VQAExample
from data.prompts import prompt_template, render_prompt
from rewards import MODES
from rewards.forms import FORMS, is_right
from rewards.parsing import parse_completion
from rewards.trial import trial_texts
from tests.rewards.alone import load_alone

EXAMPLES = {
    "letter": VQAExample("a-0", (), "Which?", ("CT", "MRI"), "B"),
    "yes_no": VQAExample("a-1", (), "Is it?", ("Yes", "No"), "B", form="yes_no"),
    "text": VQAExample("a-2", (), "What?", (), "left lung", form="text", accepted=("lung",)),
    "labels": VQAExample("a-4", (), "Which ones?", (), "line, disc", form="labels"),
    "number": VQAExample("a-3", (), "How many?", (), "3", form="number"),
}


def test_there_is_an_example_of_each_form_here():
    assert list(EXAMPLES) == list(FORMS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
def test_the_right_answer_as_it_is_asked_for_earns_both_rewards(form, mode):
    example = EXAMPLES[form]
    rewards = load_alone(["accuracy", "format"], mode)
    _, right, cut_off, _ = trial_texts(example, mode)
    assert {name: reward(right, example) for name, reward in rewards.items()} == {
        "accuracy": 1.0,
        "format": 1.0,
    }
    assert [reward(cut_off, example) for reward in rewards.values()] == [0.0, 0.0]
    parsed = parse_completion(right, mode, example.options, form)
    assert is_right(parsed.choice, example) and is_right(parsed.lenient_choice, example)


def test_a_prompt_asks_in_its_form_and_shows_options_only_to_a_choice_of_letters():
    template = prompt_template("no_think")
    shown = {
        name: render_prompt(template, one.question, one.options, one.form)
        for name, one in EXAMPLES.items()
    }
    assert shown == {
        "letter": "Which?\nA) CT\nB) MRI\n"
        "Give one letter inside <answer></answer> and nothing else.",
        "yes_no": "Is it?\nGive yes or no inside <answer></answer> and nothing else.",
        "text": "What?\nGive a short answer inside <answer></answer> and nothing else.",
        "labels": "Which ones?\nGive all that apply, separated by commas inside"
        " <answer></answer> and nothing else.",
        "number": "How many?\nGive one number inside <answer></answer> and nothing else.",
    }


def test_a_users_template_without_the_form_stays_as_it_is():
    assert render_prompt("{question} {options} Go.", "Is it?", ("Yes", "No"), "yes_no") == (
        "Is it?  Go."
    )


@pytest.mark.parametrize(
    ("form", "options", "answer"),
    [("text", (), ""), ("text", ("a", "b"), "a"), ("yes_no", (), "A")],
)
def test_an_example_without_a_key_of_its_form_is_refused(form, options, answer):
    with pytest.raises(ValueError, match=r"a-7: .*correct the row"):
        VQAExample("a-7", (), "Which?", options, answer, form=form)


def test_a_guess_is_right_at_a_rate_only_where_there_are_options():
    chances = {name: FORMS[name].chance(one) for name, one in EXAMPLES.items()}
    assert chances == {"letter": 0.5, "yes_no": 0.5, "text": None, "labels": None, "number": None}
    assert FORMS["letter"].chance(VQAExample("b", (), "?", ("a", "b", "c", "d"), "A")) == 0.25
