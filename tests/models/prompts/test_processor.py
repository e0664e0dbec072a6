"""One preprocessing path, equal to transformers' own processor and model, which need torchvision.

Shapes: P prompt tokens, K image patches.
"""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor
from transformers.processing_utils import ProcessorMixin

from grpo.rollout import PromptBatch
from grpo.sft import target_rollout
from models.files import PROCESSOR_FILES
from models.prompts.processor import Processor
from tests.models.nano import (
    CHAT_TEMPLATE,
    FAMILIES,
    IDS,
    VOCAB_SIZE,
    random_image,
    write_checkpoint,
)

pytestmark = pytest.mark.model


class ProcessorWithoutVideo(Qwen2VLProcessor):
    """transformers' processor less its video half, the part that needs torchvision."""

    @classmethod
    def get_attributes(cls):
        return ["image_processor", "tokenizer"]

    def __init__(self, image_processor, tokenizer, chat_template):
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def theirs(directory):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    template = tokenizer.chat_template
    if template is None:
        template = json.loads((directory / "chat_template.json").read_text())["chat_template"]
    images = Qwen2VLImageProcessorPil.from_pretrained(directory)
    return ProcessorWithoutVideo(images, tokenizer, template)


IMAGE_SETS = {
    "no image": [],
    "square": [(84, 84)],
    "odd sizes": [(97, 61)],
    "smaller than the minimum": [(9, 14)],
    "larger than the maximum": [(400, 300)],
    "several": [(56, 112), (130, 50), (77, 77)],
}
TEXTS = ["Which plane is this?\nA) axial, B) coronal", "Größe? 肺 🫁", " ", ""]


@pytest.fixture(scope="module", params=["nano", "real tokenizer"])
def both(request, tmp_path_factory):
    """Our processor, transformers', and a model without weights for its get_rope_index."""
    if request.param == "nano":
        directory = write_checkpoint(tmp_path_factory.mktemp("nano") / "qwen2_vl")
    else:
        directory = request.getfixturevalue("nano_dirs")["qwen2_vl"]
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(directory))
    return Processor.load(directory), theirs(directory), model.model


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("sizes", IMAGE_SETS.values(), ids=IMAGE_SETS)
def test_ids_pixels_grid_and_positions_equal_transformers(both, sizes, text):
    ours, processor, rope_model = both
    images = [random_image(*size, seed=i) for i, size in enumerate(sizes)]
    content = [{"type": "image"} for _ in images] + [{"type": "text", "text": text}]
    turn = [{"role": "user", "content": content}]
    rendered = processor.apply_chat_template(turn, add_generation_prompt=True)
    expected = processor(text=[rendered], images=images or None, return_tensors="pt")

    prompt = ours.encode(text, images)

    assert torch.equal(prompt.input_ids, expected["input_ids"][0])
    if images:
        assert torch.equal(prompt.pixel_values, expected["pixel_values"])
        assert torch.equal(prompt.image_grid_thw, expected["image_grid_thw"])
        image_token = (prompt.input_ids == rope_model.config.image_token_id).int()
        positions, deltas = rope_model.get_rope_index(
            prompt.input_ids[None], image_token[None], prompt.image_grid_thw
        )
        assert torch.equal(prompt.position_ids, positions[:, 0])
        assert prompt.next_position == prompt.num_tokens + int(deltas)
    else:
        assert prompt.pixel_values.shape == (0, 1176) and prompt.image_grid_thw.shape == (0, 3)
        assert torch.equal(prompt.position_ids, torch.arange(prompt.num_tokens).expand(3, -1))
    assert prompt.pixel_values.dtype == torch.float32
    assert prompt.input_ids.dtype == prompt.position_ids.dtype == torch.int64


@pytest.mark.parametrize("system", ["You read pictures.", " Größe {{ x }}\n肺 ", " "])
@pytest.mark.parametrize("sizes", [[], [(84, 56)], [(56, 84), (97, 61)]], ids=len)
def test_a_system_turn_is_written_as_transformers_writes_it(both, sizes, system):
    ours, processor, _ = both
    images = [random_image(*size, seed=i) for i, size in enumerate(sizes)]
    content = [{"type": "image"} for _ in images] + [{"type": "text", "text": "Why?"}]
    turns = [
        {"role": "system", "content": [{"type": "text", "text": system}]},
        {"role": "user", "content": content},
    ]
    rendered = processor.apply_chat_template(turns, add_generation_prompt=True)
    expected = processor(text=[rendered], images=images or None, return_tensors="pt")
    prompt = ours.encode("Why?", images, system=system)
    assert torch.equal(prompt.input_ids, expected["input_ids"][0])
    assert not torch.equal(prompt.input_ids, ours.encode("Why?", images).input_ids)
    counted = ours.count_tokens("Why?", [(w, h) for h, w in sizes], system=system)
    assert counted == prompt.num_tokens
    assert ours.most_tokens("Why?", [(w, h) for h, w in sizes], system=system) >= counted


@pytest.mark.parametrize("family", FAMILIES)
def test_visual_tokens_are_the_grid_over_the_merged_square(family, tmp_path):
    processor = Processor.load(write_checkpoint(tmp_path / family, family))
    images = [random_image(56, 84), random_image(168, 56)]
    prompt = processor.encode("?", images)
    assert prompt.image_grid_thw.tolist() == [[1, 4, 6], [1, 12, 4]]
    image_tokens = int((prompt.input_ids == IDS["<|image_pad|>"]).sum())
    assert image_tokens == (24 + 48) // 4 == len(prompt.pixel_values) // 4


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return Processor.load(write_checkpoint(tmp_path_factory.mktemp("nano") / "qwen2_vl"))


def test_the_turn_is_the_chat_templates_with_images_before_the_text(processor):
    ids = processor.encode("Why?", [random_image(56, 56)]).input_ids
    assert processor.tokenizer.decode(ids) == (
        "<|im_start|>user\n<|vision_start|>" + "<|image_pad|>" * 4 + "<|vision_end|>Why?"
        "<|im_end|>\n<|im_start|>assistant\n"
    )


def test_every_end_id_of_the_generation_config_ends_a_completion(processor):
    assert processor.end_ids == (IDS["<|im_end|>"], IDS["<|endoftext|>"])
    assert processor.pad_id == IDS["<|endoftext|>"]


def test_vision_placeholders_and_ids_without_a_token_are_banned_and_ends_are_not(processor):
    vision = [IDS[f"<|{name}|>"] for name in ("vision_start", "vision_end", "vision_pad")]
    vision += [IDS["<|image_pad|>"], IDS["<|video_pad|>"]]
    spare = list(range(256 + len(IDS), VOCAB_SIZE))
    assert list(processor.banned_ids) == sorted(vision + spare)
    assert not {*processor.end_ids} & {*processor.banned_ids}


@pytest.mark.parametrize("end", [IDS["<|vision_end|>"], IDS["<|image_pad|>"], VOCAB_SIZE - 1])
def test_an_end_is_never_banned_even_one_that_would_be(end, tmp_path):
    """Its log-probability would be -inf, so no completion could end and no target be learned."""
    directory = write_checkpoint(tmp_path / "nano")
    usual = Processor.load(directory)
    ends = [IDS["<|im_end|>"], end]
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    odd = Processor.load(directory)
    assert odd.end_ids == tuple(ends)
    assert {*odd.banned_ids} == {*usual.banned_ids} - {end}


@pytest.mark.parametrize(
    "listed",
    [["<|im_end|>", "<|endoftext|>"], ["<|endoftext|>", "<|im_end|>"], ["<|endoftext|>"]],
    ids=len,
)
@pytest.mark.parametrize("own", ["<|im_end|>", "<|endoftext|>", None])
def test_a_supervised_target_ends_as_the_chat_template_ends_a_turn(listed, own, tmp_path):
    directory = write_checkpoint(tmp_path / "nano")
    ends = [IDS[token] for token in listed]
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    settings = json.loads((directory / "tokenizer_config.json").read_text())
    changed = {k: v for k, v in settings.items() if k != "eos_token"} | (
        {} if own is None else {"eos_token": own}
    )
    (directory / "tokenizer_config.json").write_text(json.dumps(changed))

    processor = Processor.load(directory)
    assert processor.turn_end_id == IDS["<|im_end|>"]
    assert {*ends, IDS["<|im_end|>"]} <= {*processor.end_ids}  # and sampling ends on every one
    assert processor.end_ids[: len(ends)] == tuple(ends)

    policy = SimpleNamespace(processor=processor)
    batch = PromptBatch((processor.encode("Why?"),) * 2, (None, None), (0, 1), 0)
    rollout = target_rollout(policy, batch, ["<answer>B</answer>", "B"])
    rows = zip(rollout.completions.ids.tolist(), rollout.completion_mask.tolist(), strict=True)
    written = [[i for i, counts in zip(*row, strict=True) if counts] for row in rows]
    assert [row.pop() for row in written] == [IDS["<|im_end|>"]] * 2
    assert [processor.tokenizer.decode(row) for row in written] == ["<answer>B</answer>", "B"]


@pytest.mark.parametrize(
    ("ending", "end"),
    [
        ("<|im_end|>\n<|endoftext|>", "<|im_end|>"),  # the first ends the turn
        ("{{ eos_token }}", "<|endoftext|>"),
        ("\n", "<|endoftext|>"),  # it ends no turn: the tokenizer's own
        ("{{ raise_exception('prompts only') }}", "<|endoftext|>"),
    ],
)
def test_a_template_without_an_end_of_turn_leaves_the_tokenizers_own_end(ending, end, tmp_path):
    directory = write_checkpoint(tmp_path / "nano")
    file = directory / "tokenizer_config.json"
    template = CHAT_TEMPLATE.replace(
        "{% endfor %}<|im_end|>\n{% endfor %}",
        "{% endfor %}{% if message['role'] == 'assistant' %}"
        + ending
        + "{% else %}<|im_end|>\n{% endif %}{% endfor %}",
    )
    assert template != CHAT_TEMPLATE
    settings = json.loads(file.read_text())
    changed = {"chat_template": template, "eos_token": "<|endoftext|>"}
    file.write_text(json.dumps(settings | changed))
    assert Processor.load(directory).turn_end_id == IDS[end]


def test_the_real_vocabulary_has_279_spare_rows(nano_dirs):
    processor = Processor.load(nano_dirs["qwen2_5_vl"])
    assert processor.banned_ids == (*range(151652, 151657), *range(151657, 151936))
    assert len([i for i in processor.banned_ids if i > 151656]) == 279
    assert processor.end_ids == (151645, 151643)


@pytest.mark.parametrize("text", ["<answer>B</answer>", "Größe 肺", "two\nlines  and spaces "])
def test_a_completion_survives_encode_and_decode(processor, text):
    ids = processor.encode_completion(text)
    assert not set(ids) & set(processor.end_ids)
    assert processor.decode(ids) == text
    assert processor.decode(torch.tensor([*ids, processor.end_ids[1]])) == text
    assert processor.decode([]) == ""


def test_special_tokens_inside_a_completion_stay_visible(processor):
    start, end = IDS["<|im_start|>"], processor.end_ids[0]
    assert processor.decode([start, *b"A", end, end]).startswith("<|im_start|>")
    assert processor.decode([end, end]) == "<|im_end|>"  # only one end ends a completion


@pytest.mark.parametrize("token", IDS)
def test_a_special_token_in_the_text_is_refused(processor, token):
    """It would not be asked about: it would end the turn, or stand for an image."""
    with pytest.raises(ValueError, match=rf"holds {re.escape(token)}, which .* 'What is .*remove"):
        processor.encode(f"What is {token}?", [random_image(56, 56)])
    with pytest.raises(
        ValueError, match=rf"holds {re.escape(token)}, which .* 'You {re.escape(token)}"
    ):
        processor.encode("What is this?", system=f"You {token}")
    processor.encode("Is 1 <|2| or <| im_end |>?")  # only looks like one


def test_a_template_that_writes_no_placeholders_is_refused(processor):
    template = "{{ messages[0]['content'][-1]['text'] }}"
    blind = replace(processor, chat_template=template)
    with pytest.raises(ValueError, match="0 image placeholders for 1 images: give a chat templ"):
        blind.encode("Why?", [random_image(56, 56)])


def test_an_image_like_a_thread_is_refused(processor):
    with pytest.raises(ValueError, match="aspect ratio"):
        processor.encode("?", [random_image(2, 600)])


@pytest.mark.parametrize(
    "file", ["tokenizer_config.json", "chat_template.json", "chat_template.jinja"]
)
def test_the_chat_template_is_found_wherever_it_stands(file, tmp_path, processor):
    other = Processor.load(write_checkpoint(tmp_path / "nano", template_file=file))
    assert other.chat_template == processor.chat_template
    assert torch.equal(other.encode("Hi").input_ids, processor.encode("Hi").input_ids)


def test_min_and_max_pixels_of_the_checkpoint_are_kept(processor):
    grid = processor.encode("?", [random_image(500, 500)]).image_grid_thw
    assert grid.tolist() == [[1, 12, 12]]  # 168 x 168, the maximum of preprocessor_config.json


def test_what_is_saved_is_what_was_loaded_whatever_became_of_it(tmp_path):
    """A resumed run rotates away the checkpoint it began from, and must go on saving."""
    start = write_checkpoint(tmp_path / "start", template_file="chat_template.json")
    processor = Processor.load(start)
    before = {
        name: (start / name).read_bytes() for name in PROCESSOR_FILES if (start / name).exists()
    }
    assert len(before) == 5
    shutil.rmtree(start)
    (tmp_path / "saved").mkdir()
    processor.save(tmp_path / "saved")
    assert {file.name: file.read_bytes() for file in (tmp_path / "saved").iterdir()} == before


def test_a_blanked_prompt_shows_the_mean_colour_and_is_the_same_otherwise(processor):
    prompt = processor.encode("Why?", [random_image(56, 84), random_image(56, 56)])
    blank = prompt.blanked()
    assert blank.pixel_values.shape == prompt.pixel_values.shape
    assert not blank.pixel_values.any() and prompt.pixel_values.any()
    for name in ("input_ids", "position_ids", "image_grid_thw"):
        assert torch.equal(getattr(blank, name), getattr(prompt, name))
    # an image of the processor's mean colour is blank, but for its rounding to whole levels
    mean = tuple(round(255 * x) for x in processor.image_processor.image_mean)
    grey = processor.encode("Why?", [Image.new("RGB", (84, 56), mean)])
    assert grey.pixel_values.abs().max() < 0.5 / 255 / 0.26
