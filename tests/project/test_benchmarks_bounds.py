"""What the benchmarks call the maths: bytes, FLOPs and exponents, against worked numbers."""

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from benchmarks.flop_count import forward_flops, step_flops, update_flops
from benchmarks.gpu_bounds import (
    Bar,
    bars,
    decode_bytes,
    share_of_bandwidth,
    share_of_peak,
    text_weights,
)
from benchmarks.growth_fit import exponent, growth
from benchmarks.model_sizes import QWEN2_VL_2B, QWEN2_VL_7B
from models.checkpoint.loading import find_checkpoint

TEXT = {
    "hidden_size": 4,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 8,
    "vocab_size": 10,
}


def test_weights_of_a_decoded_token_worked_by_hand():
    # one layer: query 4 * 4 + 4, key and value 4 * 2 + 2 each, output 4 * 4, MLP 3 * 4 * 8, norms
    # 2 * 4: 20 + 10 + 10 + 16 + 96 + 8 = 160; two of them, the last norm 4 and the head 10 * 4
    assert text_weights(TEXT) == 2 * 160 + 4 + 40


@pytest.mark.parametrize("dims", [QWEN2_VL_2B, QWEN2_VL_7B], ids=["2B", "7B"])
def test_weights_of_a_decoded_token_are_transformers_own(dims, tmp_path):
    """The input embedding is the head when they are tied, else one row of it is read per token."""
    config = json.loads((find_checkpoint("tiny") / "config.json").read_text())
    config["text_config"] |= dims["text"]
    del config["text_config"]["layer_types"]
    config["tie_word_embeddings"] = dims["text"]["tie_word_embeddings"]
    config["vision_config"] |= dims["vision"] | {"hidden_size": dims["text"]["hidden_size"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(tmp_path))
    body = model.model.language_model
    read = sum(p.numel() for p in body.parameters()) - body.embed_tokens.weight.numel()
    assert text_weights(dims["text"]) == read + model.lm_head.weight.numel()


def test_the_published_sizes_have_the_published_numbers_of_parameters():
    """2B: 1.54e9 in the text body; 7B: 7.07e9 and an input embedding of its own, 0.54e9."""
    assert text_weights(QWEN2_VL_2B["text"]) == pytest.approx(1.54e9, rel=0.01)
    assert text_weights(QWEN2_VL_7B["text"]) == pytest.approx(7.07e9, rel=0.01)


def test_bytes_of_a_rollout_worked_by_hand():
    # 3 tokens per row are 2 decode steps: the weights twice, 2 * 364. A token's keys and values:
    # 2 * 2 layers * 1 head * 2 = 8. Prompts of 3 and 4 tokens, once per group: 2 * 7 * 8. Four rows
    # read 1 and then 2 tokens of their own: 4 * 3 * 8. Two bytes each.
    elements = 2 * 364 + 2 * 7 * 8 + 4 * 3 * 8
    assert decode_bytes(TEXT, prompt_tokens=7, rows=4, C=3) == 2 * elements == 1872


def test_one_step_of_2b_reads_3_gigabytes():
    # 1.54e9 weights; 8 prompts of 250 tokens and 64 rows of 1 at 28 * 2 * 256 elements each
    found = decode_bytes(QWEN2_VL_2B["text"], prompt_tokens=2000, rows=64, C=2)
    assert found == 2 * (text_weights(QWEN2_VL_2B["text"]) + 14_336 * 2064)
    assert share_of_bandwidth(found, seconds=1.2e-3) == pytest.approx(0.608, abs=0.003)


def tiny_config():
    text = SimpleNamespace(**TEXT)
    vision = SimpleNamespace(
        embed_dim=2, depth=1, mlp_ratio=4, in_channels=3, temporal_patch_size=2,
        patch_size=1, spatial_merge_size=2, hidden_size=4,
    )  # fmt: skip
    return SimpleNamespace(text_config=text, vision_config=vision)


SIZES = {"N": 2, "G": 3, "P": 5, "C": 2, "K": 8}


def test_flops_of_an_update_worked_by_hand():
    # A token of a text layer: query and output 4 * 4 * 2, key and value 4 * 2 * 2, MLP 3 * 4 * 8:
    # 144 products, 288 FLOPs. Tokens: 2 prompts of 5 once each, 6 rows of 2: 22.
    projections = 2 * 22 * 288
    # visible keys: a prompt's 1 + 2 + .. + 5 = 15; a row's 6 + 7 = 13; 4 FLOPs per hidden unit each
    attention = 2 * (2 * 15 + 6 * 13) * 4 * 4
    head = 2 * 4 * 10 * 12
    # an image: patches 2 * 8 * 6 * 2; a block 2 * 8 * (4 + 8) * 4 and 4 * 64 * 2; the merger on 2
    # squares, 8 -> 8 -> 4: 2 * 2 * (64 + 32)
    image = 192 + 768 + 512 + 384
    forward = projections + attention + head + 2 * image
    assert forward_flops(tiny_config(), **SIZES, shared=True) == forward
    assert update_flops(tiny_config(), **SIZES) == 3 * forward
    assert step_flops(tiny_config(), **SIZES) == 5 * forward
    # vision once instead of five times; the head's weight gets no gradient
    frozen = step_flops(tiny_config(), **SIZES, frozen=True)
    assert frozen == 5 * forward - 4 * 2 * image - head
    assert share_of_peak(790e12, seconds=2.0) == 0.5


def test_bars_are_missed_on_the_wrong_side_only_and_not_without_a_measurement():
    assert Bar("x", 0.59, 0.6).missed and not Bar("x", 0.6, 0.6).missed
    assert Bar("x", 20.1, 20.0, at_most=True).missed
    assert not Bar("x", 1.0, 20.0, at_most=True).missed
    assert not Bar("x", None, 8.0).missed
    assert str(Bar("x", None, 8.0)) == "x: not measured, wanted at least 8"


def test_bars_of_a_row_are_the_designs():
    row = {"decode_share_of_bound": 0.7, "first_use_seconds": 21.0, "update_share_of_peak": 0.44}
    found = {bar.name: bar for bar in bars(row | {"times_hf_generate": 8.5})}
    missed = [name for name, bar in found.items() if bar.missed]
    assert missed == ["first rollout beyond a later one, seconds", "update, share of 790 TFLOP/s"]
    assert {bar.wanted for bar in found.values()} == {0.6, 8.0, 20.0, 0.45, 6.0}


def table(power, overhead=0.0):
    return [{"C": C, "s": C**power + overhead, "flops": float(C)} for C in (16, 32, 64, 128, 256)]


def test_an_exponent_is_the_slope_in_the_logarithms():
    assert exponent([1, 2, 4], [5, 5 * 2**1.5, 5 * 4**1.5]) == pytest.approx(1.5)
    # by hand: log2 y = 0, 1, 5 at log2 x = 0, 1, 2; the slope is (5 - 0) / 2
    assert exponent([1, 2, 4], [1, 2, 32]) == pytest.approx(2.5)
    with pytest.raises(ValueError, match="two above 0 at least"):
        exponent([1, 2], [0.0, 1.0])


def test_what_grows_faster_than_the_maths_is_told_and_overhead_is_not():
    assert growth(table(1.3), "C", "s", "flops", 0.15)["too_fast"]
    assert not growth(table(1.1), "C", "s", "flops", 0.15)["too_fast"]
    assert not growth(table(1.0, overhead=100), "C", "s", "flops", 0.15)["too_fast"]


def test_growth_looks_at_the_largest_sizes():
    """Flat where calls cost more than work; then quadratic, which must not be averaged away."""
    rows = [{"C": C, "s": max(1.0, (C / 64) ** 2), "flops": float(C)} for C in (16, 32, 64, 128)]
    rows.append({"C": 256, "s": 16.0, "flops": 256.0})
    found = growth(rows[::-1], "C", "s", "flops", 0.15)
    assert found["measured"] == 2.0 and found["predicted"] == 1.0 and found["too_fast"]
