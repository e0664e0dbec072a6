"""The image processor: which file sets it, as in transformers 5, and sizes that the user chose."""

import json
import re

import pytest
import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from data.examples import VQAExample
from data.prompts import TEMPLATES
from data.turns import TurnBuilder
from evaluate import main
from evaluation.asking.encoding import encode_checked
from models import load_policy
from models.checkpoint.saving import save_policy
from models.prompts.image_processor import seen_as
from models.prompts.processor import Processor
from tests.models.nano import IDS, random_image, write_checkpoint

pytestmark = pytest.mark.model

PLAIN, NESTED = "preprocessor_config.json", "processor_config.json"
IMAGES = [random_image(130, 77), random_image(9, 14, seed=1), random_image(400, 300, seed=2)]


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / "model")


def settings_of(checkpoint, name=PLAIN):
    return json.loads((checkpoint / name).read_text())


def write(checkpoint, name, content):
    (checkpoint / name).write_text(json.dumps(content))


def nest(checkpoint, **changes):
    """Write the settings as transformers 5 does: inside processor_config.json."""
    processor = Qwen2VLImageProcessorPil.from_dict(settings_of(checkpoint) | changes)
    content = {"image_processor": processor.to_dict(), "processor_class": "Qwen2VLProcessor"}
    write(checkpoint, NESTED, json.loads(json.dumps(content, default=list)))


def same_numbers(processor, theirs):
    ours = processor.encode("?", IMAGES)
    batch = theirs(images=IMAGES, return_tensors="pt")
    return torch.equal(ours.pixel_values, batch["pixel_values"]) and torch.equal(
        ours.image_grid_thw, batch["image_grid_thw"]
    )


@pytest.mark.parametrize("both", [False, True])
def test_the_nested_settings_of_transformers_5_are_read_and_win(both, checkpoint, tmp_path):
    nest(checkpoint, max_pixels=84 * 84)
    if not both:
        (checkpoint / PLAIN).unlink()
    policy = load_policy(checkpoint)
    theirs = Qwen2VLImageProcessorPil.from_pretrained(checkpoint)
    assert theirs.size["longest_edge"] == 84 * 84
    assert same_numbers(policy.processor, theirs)

    save_policy(policy, tmp_path / "saved")

    assert (tmp_path / "saved" / PLAIN).exists() == both
    assert settings_of(tmp_path / "saved", NESTED) == settings_of(checkpoint, NESTED)
    again = Qwen2VLImageProcessorPil.from_pretrained(tmp_path / "saved")
    assert same_numbers(Processor.load(tmp_path / "saved"), again)
    assert again.to_dict() == theirs.to_dict()


@pytest.mark.parametrize("nested", [{}, {"image_processor": None}, {"processor_class": "x"}])
def test_a_processor_config_without_an_image_processor_leaves_the_older_file(nested, checkpoint):
    write(checkpoint, NESTED, nested)
    assert same_numbers(
        Processor.load(checkpoint), Qwen2VLImageProcessorPil.from_pretrained(checkpoint)
    )


SIZES = {
    "edges": {"size": {"shortest_edge": 784, "longest_edge": 7056}},
    "pixels": {"min_pixels": 784, "max_pixels": 7056},
    "both, and the top wins": {
        "min_pixels": 784,
        "max_pixels": 7056,
        "size": {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 99},
    },
    "nulls at the top": {
        "min_pixels": None,
        "max_pixels": None,
        "size": {"shortest_edge": 784, "longest_edge": 7056},
    },
    "pixels under size": {"size": {"min_pixels": 784, "max_pixels": 7056}},
}


@pytest.mark.parametrize("file", [PLAIN, NESTED])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_every_spelling_of_the_limits_is_read(size, file, checkpoint):
    settings = settings_of(checkpoint)
    settings = {k: v for k, v in settings.items() if k not in ("min_pixels", "max_pixels")} | size
    (checkpoint / PLAIN).unlink()
    write(checkpoint, file, {"image_processor": settings} if file == NESTED else settings)
    theirs = Qwen2VLImageProcessorPil(size={"shortest_edge": 784, "longest_edge": 7056})
    assert same_numbers(Processor.load(checkpoint), theirs)


def test_one_limit_alone_leaves_the_other_at_its_default(checkpoint):
    settings = settings_of(checkpoint)
    del settings["min_pixels"]
    write(checkpoint, PLAIN, settings | {"max_pixels": 7056})
    assert Processor.load(checkpoint).image_processor.size["shortest_edge"] == 56 * 56


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_pixels": "many"}, "max_pixels is 'many', not a number of pixels"),
        ({"max_pixels": 0}, "max_pixels is 0"),
        ({"min_pixels": 9000, "max_pixels": 8000}, "min_pixels 9,000 is more than max_pixels"),
        ({"size": {"height": 84, "width": 84}}, "not shortest_edge and longest_edge"),
        ({"size": 84}, "size is 84"),
        ({"do_resize": False}, "turns resizing off .* multiples of 28"),
        ({"patch_size": 16}, "vision patch_size 14 and preprocessor_config.json patch_size 16"),
    ],
)
def test_settings_that_cannot_be_used_are_named(change, message, checkpoint):
    settings = {k: v for k, v in settings_of(checkpoint).items() if "pixels" not in k}
    write(checkpoint, PLAIN, settings | change)
    with pytest.raises(ValueError, match=message):
        Processor.load(checkpoint)


def test_without_any_file_both_are_named(checkpoint):
    (checkpoint / PLAIN).unlink()
    with pytest.raises(ValueError, match=rf"has no {PLAIN}: copy it .* {NESTED} holds no"):
        Processor.load(checkpoint)
    write(checkpoint, NESTED, {"image_processor": "Qwen2VLImageProcessor"})
    with pytest.raises(ValueError, match="image_processor is 'Qwen2VLImageProcessor', not an obj"):
        Processor.load(checkpoint)


LIMITS = {"low": (56 * 56, 84 * 84), "high": (400 * 400, 800 * 800)}


# 14 and 42 lie between two multiples of 28: Python rounds halves to even, to 1 and not 0 tokens
@pytest.mark.parametrize("size", [1, 8, 14, 28, 42, 56, 70, 100, 196, 384])
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_a_size_that_was_asked_for_reaches_the_model(limits, size, tmp_path):
    low, high = limits
    checkpoint = write_checkpoint(tmp_path / "model", changes={"max_position_embeddings": 4096})
    write(checkpoint, PLAIN, settings_of(checkpoint) | {"min_pixels": low, "max_pixels": high})
    policy = load_policy(checkpoint)
    example = VQAExample("x", (lambda: random_image(60, 80),), "?", ("CT", "MRI"), "A")
    prompt = encode_checked(policy, example, TurnBuilder(TEMPLATES["think"], size), 4)
    side = max(1, round(size / 28))
    assert prompt.image_grid_thw.tolist() == [[1, 2 * side, 2 * side]]
    assert int((prompt.input_ids == IDS["<|image_pad|>"]).sum()) == side**2
    text = seen_as(checkpoint, size)
    assert text.startswith(f"{28 * side} x {28 * side} pixels, {side**2} visual tokens")
    assert ("max_pixels" in text) == ((28 * side) ** 2 > high)
    assert ("min_pixels" in text) == ((28 * side) ** 2 < low)


def test_images_of_their_own_size_keep_to_the_limits(checkpoint):
    write(checkpoint, PLAIN, settings_of(checkpoint) | {"max_pixels": 84 * 84})
    policy = load_policy(checkpoint)
    example = VQAExample("x", (lambda: random_image(400, 400),), "?", ("CT", "MRI"), "A")
    prompt = encode_checked(policy, example, TurnBuilder(TEMPLATES["think"], 0), 4)
    assert prompt.image_grid_thw.tolist() == [[1, 6, 6]]


def test_what_is_printed_is_what_the_model_sees(checkpoint, tmp_path, capsys):
    random_image(50, 50).save(tmp_path / "scan.png")
    ask = ["ask", "--model", str(checkpoint), "--image", str(tmp_path / "scan.png")]
    ask += ["--question", "?", "--options", "CT", "MRI", "--max-completion-tokens", "2"]
    assert main([*ask, "--image-size", "384"]) == 0
    printed = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "image size 384 x 384 (flag) seen as 392 x 392 pixels, 196 visual tokens" in printed
    assert f"(max_pixels 28,224 in {PLAIN} is for images of their own size)" in printed
    assert main([*ask, "--image-size", "0"]) == 0
    assert "seen as" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_mean": [0.5]}, "fails on any image (ValueError: mean must have 3 elements"),
        ({"image_std": None}, "fails on any image"),
        ({"rescale_factor": "a"}, "fails on any image"),
        ({"resample": 99}, "fails on any image"),
        ({"image_std": [0, 0, 0]}, "makes NaN or inf of any image: look at image_std"),
        ({"rescale_factor": 1e999}, "makes NaN or inf of any image"),
    ],
)
@pytest.mark.parametrize("name", [PLAIN, NESTED])
def test_settings_that_fail_on_every_image_are_refused_and_not_counted_as_wrong_answers(
    name, change, message, checkpoint
):
    settings = settings_of(checkpoint) | change
    (checkpoint / PLAIN).unlink()
    write(checkpoint, name, settings if name == PLAIN else {"image_processor": settings})
    with pytest.raises(ValueError, match=re.escape(message)) as told:
        Processor.load(checkpoint)
    assert str(checkpoint / name) in str(told.value)
