"""The published models as the simulation builds them: their counts of weights are known."""

import pytest

from models.memory import weightless
from scripts.scale.published import NAMES, config_of
from scripts.scale.sizes import sizes_of

# What the hub counts in their files.
WEIGHTS = {
    "2b": 2_208_985_600,
    "7b": 8_291_375_616,
    "72b": 73_405_560_320,
    "2.5-3b": 3_754_622_976,
    "2.5-7b": 8_292_166_656,
    "2.5-32b": 33_452_718_336,
    "2.5-72b": 73_410_777_344,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_published_model_has_its_count_of_weights_and_none_in_memory(name):
    model = weightless(config_of(name))
    assert sum(parameter.numel() for parameter in model.parameters()) == WEIGHTS[name]
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_that_a_decoded_token_meets_are_the_decoders_and_one_embedding(name):
    model = weightless(config_of(name))
    text = sizes_of(model.config).text
    decoder = sum(parameter.numel() for parameter in model.model.language_model.parameters())
    embedding = text.vocabulary * text.width
    assert model.model.language_model.embed_tokens.weight.numel() == embedding
    assert text.decode_weights == decoder  # the head is as large as the input embedding
    assert text.tied == (model.lm_head.weight is model.model.language_model.embed_tokens.weight)
