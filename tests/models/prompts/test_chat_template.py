"""Of several chat templates the processor's wins, as transformers reads the same directory."""

import itertools
import json

import pytest
from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor

from models import load_policy
from models.checkpoint.saving import save_policy
from models.prompts.processor import Processor
from tests.models.nano import CHAT_TEMPLATE, write_checkpoint

pytestmark = pytest.mark.model

PLACES = ("processor_config.json", "chat_template.json", "chat_template.jinja")
TOKENIZER = "tokenizer_config.json"


def template_of(place):
    return CHAT_TEMPLATE.replace("<|im_start|>", "<|im_start|>" + place.upper()[:14], 1)


def put(directory, place, template):
    file = directory / place
    if place.endswith("jinja"):
        file.write_text(template)
        return
    content = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(content | {"chat_template": template}))


SOME = [places for count in (1, 2, 3) for places in itertools.combinations(PLACES, count)]


@pytest.mark.parametrize("places", SOME, ids="+".join)
def test_the_processors_template_wins_over_the_tokenizers(places, tmp_path):
    directory = write_checkpoint(tmp_path / "model")
    for place in (TOKENIZER, *places):
        put(directory, place, template_of(place))
    theirs, _ = Qwen2VLProcessor.get_processor_dict(directory)
    assert Processor.load(directory).chat_template == theirs["chat_template"]
    assert theirs["chat_template"] == template_of(places[0])


def test_it_wins_in_what_is_saved_too(tmp_path):
    directory = write_checkpoint(tmp_path / "model")
    for place in (*PLACES, TOKENIZER):
        put(directory, place, template_of(place))
    save_policy(load_policy(directory), tmp_path / "saved")
    saved = Processor.load(tmp_path / "saved")
    theirs, _ = Qwen2VLProcessor.get_processor_dict(tmp_path / "saved")
    assert saved.chat_template == theirs["chat_template"] == template_of(PLACES[0])


def test_of_several_named_templates_the_default_is_taken(tmp_path):
    directory = write_checkpoint(tmp_path / "model")
    named = [{"name": "tools", "template": "x"}, {"name": "default", "template": CHAT_TEMPLATE}]
    put(directory, TOKENIZER, named)
    assert Processor.load(directory).chat_template == CHAT_TEMPLATE
    put(directory, "chat_template.json", {"tools": "x", "default": template_of("other")})
    assert Processor.load(directory).chat_template == template_of("other")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"tools": "x"}, "names the chat templates tools, but no 'default'"),
        (3, "chat_template.json: the chat template is 3, not a text"),
    ],
)
def test_a_template_that_is_none_is_named_with_its_file(template, message, tmp_path):
    directory = write_checkpoint(tmp_path / "model")
    put(directory, "chat_template.json", template)
    with pytest.raises(ValueError, match=message):
        Processor.load(directory)
