"""The smallest prompt and the smallest image run through every model, forward and backward."""

import pytest
import torch

from models import load_policy
from models.sharding.filler import blank_image, filler_prompt
from tests.models.nano import FAMILIES, write_checkpoint

pytestmark = pytest.mark.model


@pytest.mark.parametrize("family", FAMILIES)
def test_a_filler_is_one_token_and_gives_every_weight_of_the_text_a_gradient(family, tmp_path):
    policy = load_policy(write_checkpoint(tmp_path / family, family))
    filler = filler_prompt(policy)
    assert filler.num_tokens == 1 and len(filler.image_grid_thw) == 0
    hidden = policy.scored_hidden([filler], [1], torch.tensor([[7]]), [1])
    assert hidden.shape == (1, 64)
    (hidden.sum() * 0).backward()
    for name, weight in policy.text.named_parameters():
        assert weight.grad is not None and not weight.grad.any(), name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_blank_image_is_one_visual_token_and_reaches_every_weight_of_the_tower(family, tmp_path):
    policy = load_policy(write_checkpoint(tmp_path / family, family))
    (features,) = policy.image_features([blank_image(policy)])
    assert features.shape == (1, 64) and bool(features.isfinite().all())
    features.sum().backward()
    assert all(weight.grad is not None for weight in policy.visual.parameters())
