"""The prompts: what is asked is what the parser scores, and a user's own template is checked."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.prompts import (
    TEMPLATES,
    check_template,
    format_options,
    prompt_template,
    render_prompt,
    supervised_target,
)
from rewards.modes import MODES
from rewards.parsing import parse_completion
from tests.data.audit_rows import example

# The embedded model's tokenizer and weights know these words: a changed one makes it a worse model.
WORDING = {
    "think": "Q\nA) x\nB) y\nReason inside <think></think>, then give one letter inside <answer></answer>.",  # noqa: E501
    "no_think": "Q\nA) x\nB) y\nGive one letter inside <answer></answer> and nothing else.",
    "think_after": "Q\nA) x\nB) y\nGive one letter inside <answer></answer>, then your reasons inside <think></think>.",  # noqa: E501
}


@pytest.mark.parametrize("mode", MODES)
def test_the_wording_stays_as_the_embedded_model_learnt_it(mode):
    assert render_prompt(prompt_template(mode), "Q", ["x", "y"]) == WORDING[mode]


@pytest.mark.parametrize("mode", MODES)
def test_a_prompt_asks_for_its_modes_tags_in_their_order(mode):
    tags = re.findall(r"<(\w+)></\1>", TEMPLATES[mode])
    assert tuple(tags) == MODES[mode].tags
    assert TEMPLATES.keys() == MODES.keys()
    assert check_template(TEMPLATES[mode], mode) == TEMPLATES[mode]


def test_options_stand_one_a_line_behind_their_letters():
    assert format_options(["CT", "MRI (T1, T2)"]) == "A) CT\nB) MRI (T1, T2)"


text_with_braces = st.text("ab{}\\%\n") | st.sampled_from(
    ["{question}", "{options}", "{0}", "{{}}"]
)


@given(text_with_braces, st.lists(text_with_braces, min_size=2, max_size=4), st.booleans())
def test_question_and_options_are_inserted_as_they_are(question, options, options_first):
    filled = {"{question}": question, "{options}": format_options(options)}
    fields = sorted(filled, reverse=not options_first)
    template = "<{}>" + "\n--\n".join(fields) + "</{}>"
    expected = "<{}>" + "\n--\n".join(filled[field] for field in fields) + "</{}>"
    assert render_prompt(template, question, options) == expected


@pytest.mark.parametrize(
    ("content", "template"),
    [
        (b"{question}\n{options}", "{question}\n{options}"),
        (b"{question}\n{options}\n", "{question}\n{options}"),  # the editor's newline
        (b"{question}\r\n{options}\r\n", "{question}\n{options}"),
        (b"{question}\n{options}\n\n", "{question}\n{options}\n"),  # the user's own
        (b"\xef\xbb\xbf{options} {question} ", "{options} {question} "),  # a byte order mark
        ('{options}{question}{"a": {}} é'.encode(), '{options}{question}{"a": {}} é'),
    ],
)  # fmt: skip
def test_a_users_file_is_used_as_it_is_but_for_its_last_newline(tmp_path, content, template):
    file = tmp_path / "template.txt"
    file.write_bytes(content)
    assert prompt_template("think", file) == template


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"\{question\} stands 0 times, it must stand once; \{options\} stands 0 times"),
        ("{question}", r"\{options\} stands 0 times"),
        ("{question} {options} {options}", r"\{options\} stands 2 times"),
        ("{question} {options} {answer}", r"'\{answer\}' is not a field"),
        ("{question} {Options}", r"\{options\} stands 0 times.*'\{Options\}' is not a field"),
        ("<image>{question}{options}", "holds <image>, which the model would read as a word"),
        ("<|im_start|>{question}{options}", r"<\|im_start\|> would be read as a special token"),
    ],
)
def test_a_template_with_wrong_fields_is_refused(tmp_path, text, message):
    file = tmp_path / "mine.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=rf"prompt template .*mine\.txt: {message}"):
        prompt_template("think", file)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.txt cannot be read .*pass a UTF-8 text file"):
        prompt_template("think", tmp_path / "gone.txt")
    with pytest.raises(ValueError, match="cannot be read"):
        prompt_template("think", tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"\xe9{question}{options}")
    with pytest.raises(ValueError, match=r"latin\.txt cannot be read"):
        prompt_template("think", tmp_path / "latin.txt")


def test_an_unknown_mode_lists_the_modes():
    with pytest.raises(ValueError, match=r"unknown mode 'reason': use one of think, no_think"):
        prompt_template("reason")


def test_a_supervised_target_is_the_bare_answer_and_well_formed():
    target = supervised_target(example("Which?", ["CT", "MRI"], "B"))
    parsed = parse_completion(target, "no_think", ("CT", "MRI"))
    assert (parsed.choice, parsed.well_formed) == ("B", True)
