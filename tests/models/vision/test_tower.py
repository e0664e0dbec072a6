"""The vision tower as we run it against transformers' own: same features, same gradients.

Shapes: K image patches, T visual tokens, D hidden size.
"""

import pytest
import torch
from transformers import AutoModelForImageTextToText

import models.vision.tower
from models import load_policy
from tests.models.nano import FAMILIES, random_image, write_checkpoint

pytestmark = pytest.mark.model

SIZES = {
    "one size": [(56, 84)] * 3,
    "runs": [(56, 84), (56, 84), (112, 56), (56, 84), (56, 56)],
    "all different": [(56, 84), (168, 56), (112, 112)],
}


@pytest.fixture(scope="module", params=FAMILIES)
def towers(request, tmp_path_factory):
    """Our tower, transformers' own of the same files, and the processor."""
    directory = write_checkpoint(tmp_path_factory.mktemp("nano") / "m", request.param)
    policy = load_policy(directory)
    plain = AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32)
    return policy, plain.model.visual


def encoded(policy, sizes):
    images = [random_image(*size, seed=i) for i, size in enumerate(sizes)]
    return [policy.processor.encode("What?", [image]) for image in images]


@pytest.mark.parametrize("sizes", SIZES)
def test_features_and_gradients_are_those_of_transformers(towers, sizes):
    policy, plain = towers
    prompts = encoded(policy, SIZES[sizes])
    ours = torch.cat(policy.image_features(prompts))  # (T, D)
    pixels = torch.cat([prompt.pixel_values for prompt in prompts])
    grid = torch.cat([prompt.image_grid_thw for prompt in prompts])
    theirs = plain(pixels, grid_thw=grid).pooler_output
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0))
    for tower, features in ((policy.visual, ours), (plain, theirs)):
        tower.zero_grad()
        (features * weights).sum().backward()
    expected = dict(plain.named_parameters())
    for name, parameter in policy.visual.named_parameters():
        gradient = expected[name].grad
        assert gradient.norm() > 0
        assert (parameter.grad - gradient).norm() / gradient.norm() < 3e-5, name


def test_images_of_one_size_are_attended_to_in_one_call_per_block(towers, monkeypatch):
    policy, _ = towers
    batches = []
    plain = models.vision.tower._attend_batch
    monkeypatch.setattr(
        models.vision.tower,
        "_attend_batch",
        lambda q, *a, **k: batches.append(len(q)) or plain(q, *a, **k),
    )
    one = len(encoded(policy, [(112, 112)])[0].pixel_values)
    policy.image_features(encoded(policy, [(112, 112)] * 5))
    # Qwen2.5-VL's first block has windows of 16 patches, its second sees whole images
    windows = 5 * one // 16 if "2_5" in type(policy.model).__module__ else 5
    assert batches == [windows, 5]


def test_sizes_are_asked_of_the_device_once_per_pass(towers, monkeypatch):
    policy, _ = towers
    asked = []
    plain = torch.Tensor.diff
    monkeypatch.setattr(torch.Tensor, "diff", lambda t, *a: asked.append(1) or plain(t, *a))
    policy.image_features(encoded(policy, SIZES["runs"]))
    assert len(asked) == (2 if "2_5" in type(policy.model).__module__ else 1)
