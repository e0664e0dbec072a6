"""Features of a frozen tower: computed once per image, never stale, never more than the limit."""

import pytest
import torch

from models import load_policy
from models.vision.features import FeatureCache
from tests.models.hidden import completion_hidden
from tests.models.nano import random_image

pytestmark = pytest.mark.model


@pytest.fixture
def frozen(nano_policy):
    policy = load_policy(nano_policy.path, freeze_vision=True)
    policy.processor = nano_policy.processor
    return policy


@pytest.fixture
def prompts(nano_policy):
    encode = nano_policy.processor.encode
    first, second = random_image(56, 84), random_image(90, 130, seed=1)
    return [
        encode("Which plane?", [first]),
        encode("What is this?", [second]),
        encode("The same image, another question", [first]),
        encode("No image"),
        encode("Both", [first, second]),
    ]


@pytest.fixture
def passes(frozen):
    """How many images each pass of the vision tower has seen."""
    seen = []
    frozen.visual.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(len(kwargs["grid_thw"])), with_kwargs=True
    )
    return seen


def test_equal_images_are_encoded_once_whatever_is_asked_about_them(
    nano_policy, frozen, prompts, passes
):
    expected = nano_policy.image_features(prompts)
    for _ in range(3):
        for ours, theirs in zip(frozen.image_features(prompts), expected, strict=True):
            # each image alone against all together: rounding in another order
            torch.testing.assert_close(ours, theirs.detach(), atol=2e-6, rtol=0)
            assert not ours.requires_grad
    assert passes == [1, 1, 2]  # first, second, and the two of "both"


def test_features_do_not_depend_on_what_else_was_asked_for(nano_policy, prompts):
    # bitwise: a resumed run has an empty cache, and must go on as if it had not stopped
    def fresh():
        policy = load_policy(nano_policy.path, freeze_vision=True)
        policy.processor = nano_policy.processor
        return policy

    together = fresh().image_features(prompts)
    apart = fresh()
    for prompt, expected in zip(prompts[::-1], together[::-1], strict=True):
        assert torch.equal(apart.image_features([prompt])[0], expected)


def test_a_blanked_image_is_another_one(frozen, prompts, passes):
    seen = frozen.image_features(prompts[:1])[0]
    blank = frozen.image_features([prompts[0].blanked()])[0]
    assert passes == [1, 1]
    assert (seen - blank).abs().max() > 1e-3


def test_weights_that_were_written_to_make_the_features_stale(frozen, prompts, passes):
    before = frozen.image_features(prompts[:1])[0].clone()
    with torch.no_grad():
        next(frozen.visual.parameters()).mul_(1.5)
    after = frozen.image_features(prompts[:1])[0]
    assert passes == [1, 1]
    assert (after - before).abs().max() > 1e-4


def test_a_tower_that_learns_is_never_cached(nano_policy, prompts):
    one, two = (nano_policy.image_features(prompts[:1])[0] for _ in range(2))
    assert one.requires_grad and one.data_ptr() != two.data_ptr()


def test_the_oldest_features_make_room(frozen, prompts, passes):
    size = frozen.image_features(prompts[1:2])[0].nbytes
    frozen.feature_cache = FeatureCache(limit_bytes=size)
    passes.clear()
    frozen.image_features(prompts[1:2])
    frozen.image_features(prompts[:1])  # smaller; with it the limit is passed
    frozen.image_features(prompts[:1])
    frozen.image_features(prompts[1:2])
    assert passes == [1, 1, 1]
    frozen.feature_cache = FeatureCache(limit_bytes=0)
    assert (
        len(frozen.image_features(prompts)) == 5
    )  # more than it may keep is computed all the same


def test_a_reference_with_the_same_frozen_tower_shares_it(nano_policy, frozen, prompts, passes):
    reference = load_policy(nano_policy.path).requires_grad_(False)
    assert reference.share_vision(frozen)
    assert reference.visual is frozen.visual
    ids = torch.randint(0, 256, (2, 5))
    expected = completion_hidden(nano_policy, prompts[:1], [2], ids)
    for policy in (frozen, reference):
        hidden = completion_hidden(policy, prompts[:1], [2], ids)
        torch.testing.assert_close(hidden, expected, atol=1e-5, rtol=0)
    assert passes == [1]


def test_towers_that_differ_or_learn_are_not_shared(nano_policy, frozen):
    other = load_policy(nano_policy.path).requires_grad_(False)
    with torch.no_grad():
        next(other.visual.parameters()).add_(1e-3)
    assert not other.share_vision(frozen)
    assert not load_policy(nano_policy.path).requires_grad_(False).share_vision(nano_policy)
    assert other.visual is not frozen.visual
