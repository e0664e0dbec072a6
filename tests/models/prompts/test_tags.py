"""Tags that are tokens of their own, as checkpoints with a cold start have them, are text."""

import json
from dataclasses import replace

import pytest
import torch
from tokenizers import AddedToken
from transformers import AutoTokenizer

from data.prompts import TEMPLATES, render_prompt
from evaluation.asking.option_letters import letter_probabilities
from models import load_policy
from models.checkpoint.saving import save_policy
from models.prompts.processor import Processor
from models.prompts.tokenizer import is_mode_tag
from rewards.modes import MODES
from rewards.parsing import parse_completion
from tests.models.nano import IDS, VOCAB_SIZE, random_image, write_checkpoint

pytestmark = pytest.mark.model

NAMES = {name for mode in MODES.values() for name in mode.tags}
TAGS = sorted(tag for name in NAMES for tag in (f"<{name}>", f"</{name}>"))
COMPLETIONS = {
    "think": "<think>a dark lung</think>\n<answer>B</answer>",
    "no_think": "<answer>B</answer>",
    "think_after": "<answer>B</answer> <think>a dark lung</think>",
}


def add_special(tokenizer):
    tokenizer.add_special_tokens({"additional_special_tokens": TAGS})


def add_ordinary(tokenizer):
    tokenizer.add_tokens(TAGS)


def add_greedy(tokenizer):
    """Tokens that take the white space around them along."""
    added = [AddedToken(tag, lstrip=True, rstrip=True, special=True) for tag in TAGS]
    tokenizer.add_tokens(added, special_tokens=True)


def add_some(tokenizer):
    tokenizer.add_tokens(["<think>", "</think>"], special_tokens=True)


@pytest.fixture(params=[add_special, add_ordinary, add_greedy, add_some])
def checkpoint(request, tmp_path):
    directory = write_checkpoint(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    request.param(tokenizer)
    assert len(tokenizer) <= VOCAB_SIZE
    tokenizer.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("mode", TEMPLATES)
def test_our_own_prompts_can_be_put_and_answers_are_read(mode, checkpoint):
    processor = Processor.load(checkpoint)
    text = render_prompt(TEMPLATES[mode], "What is shown?", ("CT", "MRI"))
    prompt = processor.encode(text, [random_image(56, 56)])
    assert "<answer>" in processor.tokenizer.decode(prompt.input_ids)
    ids = processor.encode_completion(COMPLETIONS[mode])
    assert not set(ids) & set(processor.banned_ids)
    text = processor.decode([*ids, processor.end_ids[0]])
    parsed = parse_completion(text, mode, ("CT", "MRI"))
    assert parsed.well_formed and parsed.choice == "B"


def test_real_special_tokens_are_refused_all_the_same(checkpoint):
    processor = Processor.load(checkpoint)
    assert {*IDS} == {*processor.control_tokens}
    for token in IDS:
        with pytest.raises(ValueError, match=r"reads as a special token"):
            processor.encode(f"What is {token}?", [random_image(56, 56)])


def test_control_tokens_are_known_by_what_they_do(tmp_path):
    """An end token of another spelling, and a placeholder that is declared as ordinary text."""
    directory = write_checkpoint(tmp_path / "model")
    file = directory / "tokenizer.json"
    content = json.loads(file.read_text())
    for token in content["added_tokens"]:
        token["special"] = token["content"] != "<|image_pad|>"
    file.write_text(json.dumps(content))
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.add_special_tokens({"eos_token": "</s>", "additional_special_tokens": ["[CASE]"]})
    tokenizer.save_pretrained(directory)
    processor = Processor.load(directory)
    assert {*processor.control_tokens} == {*IDS, "</s>"}
    for text in ("</s>", "<|image_pad|>"):
        with pytest.raises(ValueError, match="reads as a special token"):
            processor.encode(f"What is {text}?")
    processor.encode("What does [CASE] show?")


def test_a_tag_that_ends_a_completion_stays_in_its_text(checkpoint):
    processor = Processor.load(checkpoint)
    ids = processor.encode_completion("<answer>B</answer>")
    ending = replace(processor, end_ids=(ids[-1], *processor.end_ids))
    if is_mode_tag(processor.tokenizer, ids[-1]):
        assert ending.decode(ids) == "<answer>B</answer>"
    assert ending.decode([*ids, processor.end_ids[0]]) == "<answer>B</answer>"


def test_tags_survive_saving_and_letters_have_probabilities(checkpoint, tmp_path):
    policy = load_policy(checkpoint)
    save_policy(policy, tmp_path / "saved")
    again = Processor.load(tmp_path / "saved")
    text = COMPLETIONS["think"]
    assert again.encode_completion(text) == policy.processor.encode_completion(text)
    prompt = policy.processor.encode("What is shown?", [random_image(56, 56)])
    (shares,) = letter_probabilities(policy, [prompt], [text], [2])
    assert shares.keys() == {"A", "B"} and sum(shares.values()) == pytest.approx(1.0)
    assert torch.tensor(list(shares.values())).isfinite().all()


def test_every_tag_of_every_mode_is_known_and_nothing_else(tmp_path):
    directory = write_checkpoint(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.add_tokens([*TAGS, "<tool_call>"])
    found = {tag for tag in tokenizer.get_vocab() if "<" in tag and len(tag) > 1}
    tags = {tag for tag in found if is_mode_tag(tokenizer, tokenizer.convert_tokens_to_ids(tag))}
    assert tags == {*TAGS}
