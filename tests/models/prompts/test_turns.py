"""A chat template is rendered apart: one that fails, loops or grows is one message."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.prompts import turns
from models.prompts.processor import Processor
from models.prompts.turns import Turns
from process import apart
from tests.models.nano import CHAT_TEMPLATE, write_checkpoint

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("nano") / "model")


@pytest.fixture(autouse=True)
def _one_second(monkeypatch):
    monkeypatch.setattr(apart, "SECONDS", 1)


@pytest.fixture
def long_enough_for_any_machine(monkeypatch):
    monkeypatch.setattr(apart, "SECONDS", 30)


def with_template(directory, template):
    (directory / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    return directory


LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLING = (
    "{% set ns = namespace(x='x' * 999) %}"
    "{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
)
LOUD = "{% for i in range(99999) %}{{ 'x' * 999 }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (LOOP, "does not end within 1 seconds"),
        ("{{ 10 ** 10 ** 9 }}", "does not end within 1 seconds|MB of memory|text once"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "fails .*OverflowError: .Range too big"),
        ("{{ raise_exception('\x1b[2Jgone\u202e') }}", r"fails .*\\x1b\[2Jgone\\u202e"),
        ("{{ messages[7].nothing.at_all }}", "fails .*UndefinedError"),
        ("{% if %}", "fails .*TemplateSyntaxError"),
        ("{% include 'x' %}", "fails "),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "fails .*RecursionError"),
        ("{{ cycler.__init__.__globals__ }}", "fails .*SecurityError|write the user's text once"),
        ("", "does not write the user's text once"),
        (CHAT_TEMPLATE + CHAT_TEMPLATE, "does not write the user's text once"),
        (CHAT_TEMPLATE.replace("content['text']", "content['text']|upper"), "user's text once"),
    ],
)
def test_a_template_that_means_harm_is_one_message_with_its_file(template, told, directory):
    with pytest.raises(ValueError, match=rf"chat template in .*chat_template\.json.*({told})") as e:
        Processor.load(with_template(directory, template))
    assert str(e.value).isprintable() and len(str(e.value)) < 1000


@pytest.mark.usefixtures("long_enough_for_any_machine")
@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{% set x = 'x' * 10 ** 10 %}", "takes more than 500 MB of memory"),
        (DOUBLING, "takes more than 500 MB of memory"),
        (LOUD, "makes more than 4 MB|MB of memory"),
    ],
)
def test_one_that_takes_too_much_is_told_for_that_and_not_for_its_time(template, told, directory):
    with pytest.raises(ValueError, match=rf"chat template in .*chat_template\.json.*({told})"):
        Processor.load(with_template(directory, template))


def test_one_that_loops_for_an_assistants_turn_alone_is_found_too(directory):
    only = "{% if messages[-1].role == 'assistant' %}" + LOOP + "{% endif %}"
    with pytest.raises(ValueError, match="does not end within"):
        Processor.load(with_template(directory, CHAT_TEMPLATE + only))


def test_an_instruct_templates_own_loop_is_no_harm_and_white_space_is_kept(directory):
    turn = Processor.load(with_template(directory, CHAT_TEMPLATE)).chat.written
    assert "\n  What?\n <|im_end|>" in turn(" What?\n ", 1).replace("<|vision_end|>", "\n ")


@settings(max_examples=30, deadline=None)
@given(
    text=st.text(max_size=40),
    images=st.integers(0, 3),
    system=st.text(max_size=20),
    strips=st.booleans(),
)
def test_a_turn_is_what_the_template_writes(text, images, system, strips):
    processor = STRIPPING if strips else PLAIN
    content = [{"type": "image"}] * images + [{"type": "text", "text": text}]
    first = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    assert processor.chat.written(text, images, system) == processor.tokenizer.apply_chat_template(
        [*first, {"role": "user", "content": content}],
        chat_template=processor.chat_template,
        add_generation_prompt=True,
        tokenize=False,
    )


@pytest.fixture(scope="module", autouse=True)
def _processors(tmp_path_factory):
    global PLAIN, STRIPPING
    own = write_checkpoint(tmp_path_factory.mktemp("turns") / "model")
    PLAIN = Processor.load(own)
    strips = CHAT_TEMPLATE.replace("content['text']", "content['text'] | trim")
    STRIPPING = Processor.load(with_template(own, strips))


def test_no_question_can_make_it_run_on(directory):
    """Whatever a template does to other texts, it never sees them."""
    trap = "{% if 'lung' in messages[0].content[-1].text %}" + LOOP + "{% endif %}"
    turn = Processor.load(with_template(directory, trap + CHAT_TEMPLATE)).chat.written
    started = time.process_time()
    assert "lung" in turn("Is it a lung?", 1)
    assert time.process_time() - started < 1
    assert Turns(("<", ">"), (True,)).of(" x ") == "<x>"


OWN = "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
IF_SYSTEM = "{% if messages[0].role == 'system' %}"
PARTS = "{% for content in message['content'] %}"
ONLY_A_TEXT = CHAT_TEMPLATE.replace(
    PARTS, "{% if message.role == 'system' %}{{ message.content | trim + '!' }}{% else %}" + PARTS
).replace("{% endfor %}<|im_end|>", "{% endfor %}{% endif %}<|im_end|>")


def test_a_rows_system_turn_stands_where_the_templates_own_would(directory):
    written = Processor.load(with_template(directory, OWN + CHAT_TEMPLATE)).chat.written
    assert written("Why?", 0).startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user")
    assert "Be kind." not in written("Why?", 0, "Be brief.")
    assert written("Why?", 0, "Be brief.").startswith("<|im_start|>system\nBe brief.<|im_end|>\n")


def test_a_template_that_takes_a_systems_words_as_a_text_alone_gets_them_so(directory):
    written = Processor.load(with_template(directory, ONLY_A_TEXT)).chat.written
    assert "<|im_start|>system\nBe brief.!<|im_end|>" in written(" Why? ", 2, " Be brief. ")
    assert "> Why? <" in written(" Why? ", 2, " Be brief. ")  # each is stripped for itself


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (CHAT_TEMPLATE.replace("in messages %}", "in messages[-1:] %}"), "does not write it once"),
        (CHAT_TEMPLATE + IF_SYSTEM + "{{ messages[0].content[0].text }}{% endif %}", "it once"),
        (
            "{% for message in messages[::-1] %}" + CHAT_TEMPLATE.partition("%}")[2],
            "does not write it once",
        ),
        (
            IF_SYSTEM + "{{ raise_exception('no \x1b[2Jplace') }}{% endif %}" + CHAT_TEMPLATE,
            r"fails at it \(.*no \\x1b\[2Jplace",
        ),
        (IF_SYSTEM + LOOP + "{% endif %}" + CHAT_TEMPLATE, "not end"),
    ],
    ids=["none", "twice", "behind the question", "refused", "a loop"],
)
def test_a_template_without_a_place_for_a_systems_turn_is_told_of_the_row(
    directory, template, told, monkeypatch
):
    written = Processor.load(with_template(directory, template)).chat.written
    assert "Why?" in written("Why?", 0)  # rows without one are asked all the same
    with pytest.raises(ValueError, match=rf"chat template in .*chat_template\.json .*{told}") as e:
        written("Why?", 0, "Be brief.")
    assert str(e.value).isprintable()
    monkeypatch.setattr(turns, "rendered", None)
    with pytest.raises(ValueError, match=told):  # nor does it take the time of each row
        written("Why?", 0, "Be kind.")


def test_threads_find_rendered_what_a_check_of_all_rows_has_rendered(directory, monkeypatch):
    checked = Processor.load(with_template(directory, CHAT_TEMPLATE))
    kinds = [(0, ""), (1, "Be brief."), (2, "")]
    for images, system in kinds:
        checked.count_tokens("Where?", [(56, 56)] * images, system=system)
    asked = Processor.load(directory)
    monkeypatch.setattr(turns, "rendered", None)
    for images, system in kinds:
        asked.count_tokens("Why?", [(56, 56)] * images, system=system)
    with pytest.raises(TypeError):
        asked.count_tokens("Why?", [(56, 56)] * 3)
