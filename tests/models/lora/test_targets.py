"""Which layers get adapters: every linear layer of decoder or tower, never the output head."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from models.lora.targets import lora_parameters, target_names
from tests.models.nano import FAMILIES, flat_config

pytestmark = pytest.mark.model

SEVEN = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
TOWER = {
    "qwen2_vl": {"attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "mlp.0", "mlp.2"},
    "qwen2_5_vl": {"attn.qkv", "attn.proj", "mlp.0", "mlp.2"}
    | {f"mlp.{part}_proj" for part in ("gate", "up", "down")},
}


def weightless(family):
    config = flat_config(family)
    model_type = config.pop("model_type")
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(AutoConfig.for_model(model_type, **config))


def ends(names, parts):
    return {".".join(name.split(".")[-parts:]) for name in names}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_words_mean_all_linear_layers_of_their_part(family):
    model = weightless(family)
    text, vision = target_names(model, ["text"]), target_names(model, ["vision"])
    assert ends(text, 1) == SEVEN and len(text) == 2 * 7  # two layers
    assert ends(vision, 2) == TOWER[family]
    assert target_names(model, ["all-linear"]) == target_names(model, ["text", "vision"])
    linears = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    assert linears - set(target_names(model, ["all-linear"])) == {"lm_head"}


def test_a_name_means_the_layers_that_end_so_and_a_star_anything():
    model = weightless("qwen2_5_vl")
    first = "model.language_model.layers.0"
    assert target_names(model, ["q_proj"])[0] == f"{first}.self_attn.q_proj"
    assert len(target_names(model, ["q_proj", "self_attn.v_proj"])) == 4
    assert len(target_names(model, ["gate_proj"])) == 4  # the tower's blocks have one, too
    assert len(target_names(model, ["language_model.layers.*.gate_proj"])) == 2
    assert not [n for n in target_names(model, ["proj"]) if n.endswith("q_proj")]  # a whole name


@pytest.mark.parametrize("name", ["lm_head", "embed_tokens", "patch_embed.proj", "norm", "c_attn"])
def test_what_is_no_such_layer_is_refused_by_its_name(name):
    with pytest.raises(ValueError, match=rf"is called {name}: use text, vision, .*o_proj"):
        target_names(weightless("qwen2_vl"), ["text", name])


@pytest.mark.parametrize("targets", [["vision"], ["all-linear"], ["gate_proj"]])
def test_adapters_in_a_tower_that_is_to_stay_as_it_is_are_refused(targets):
    model = weightless("qwen2_5_vl")
    with pytest.raises(ValueError, match=r"--freeze-vision .*visual.blocks.0.*leave one of them"):
        target_names(model, targets, freeze_vision=True)
    assert target_names(model, ["text"], freeze_vision=True)


def test_the_number_of_parameters_is_rank_times_both_sides():
    model = weightless("qwen2_vl")
    # 64 wide, 4 heads and 2 key heads of 16, MLP of 96, in each of 2 layers
    layer = (64 + 64) + 2 * (64 + 32) + (64 + 64) + 3 * (64 + 96)
    assert lora_parameters(model, 8, ["text"]) == 2 * 8 * layer
    assert lora_parameters(model, 8, ["q_proj"]) == 2 * 8 * (64 + 64)
    assert lora_parameters(model, 0, ["anything"]) == 0
