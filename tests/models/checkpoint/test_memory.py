"""The estimate that warns before loading: the documented 2B figures, and what autograd keeps."""

import json

import pytest
import torch

from models import load_policy
from models.checkpoint.memory import _weightless_model, estimate_memory, plain_copy_bytes
from models.decode.buffers import Bucket, DecodeBuffers
from models.decode.layer import FusedWeights
from models.vision.features import LIMIT_BYTES
from tests.models.hidden import completion_hidden
from tests.models.nano import FAMILIES, flat_config, random_image, write_checkpoint

pytestmark = pytest.mark.model

GB = 1e9
TWO_B = {  # Qwen/Qwen2-VL-2B-Instruct
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "tie_word_embeddings": True,
}
TWO_B_VISION = {
    "depth": 32,
    "embed_dim": 1280,
    "num_heads": 16,
    "hidden_size": 1536,
    "mlp_ratio": 4,
}


@pytest.fixture
def two_b(tmp_path):
    config = flat_config("qwen2_vl") | TWO_B
    config["vision_config"] |= TWO_B_VISION
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_full_fine_tuning_of_2b_needs_44_gb_before_activations(two_b):
    estimate = estimate_memory(two_b, dtype=torch.bfloat16, text_tokens=0, patches=0)
    gigabytes = {name: round(value / GB, 1) for name, value in vars(estimate).items()}
    assert gigabytes == {
        "weights": 4.4,
        "master": 8.8,
        "moments": 17.7,
        "gradients": 8.8,
        "reference": 4.4,
        "activations": 0.0,
        "decoding": 0.0,
        "features": 0.0,
        "embedding": 1.9,
        "tiles": 0.0,
        "context": 0.0,
        "fragmentation": 0.0,
    }
    assert round((estimate.total - estimate.embedding) / GB) == 44
    assert str(estimate).startswith("46.0 GB (weights 4.4, master 8.8")


def test_the_embeddings_gradients_by_hand(two_b):
    # V D = 151,936 x 1,536 = 233,373,696. Tied, bf16: two gradients of 2 bytes each and their sum's
    # fp32 copy: 8 bytes. Untied, each has 2 and is copied alone: 6. In fp32 none is copied.
    def embedding(dtype, tied):
        config = json.loads((two_b / "config.json").read_text()) | {"tie_word_embeddings": tied}
        (two_b / "config.json").write_text(json.dumps(config))
        return estimate_memory(two_b, dtype=dtype, text_tokens=0, patches=0).embedding

    assert embedding(torch.bfloat16, tied=True) == 8 * 233_373_696
    assert embedding(torch.bfloat16, tied=False) == 6 * 233_373_696
    assert embedding(torch.float32, tied=True) == 8 * 233_373_696
    assert embedding(torch.float32, tied=False) == 4 * 233_373_696


def test_what_cuda_and_its_allocator_take_by_hand(two_b):
    sizes = {"dtype": torch.bfloat16, "text_tokens": 4096, "patches": 784}
    plain = estimate_memory(two_b, **sizes, tiles=3 * 2**28)
    assert (plain.tiles, plain.context, plain.fragmentation) == (805_306_368, 0, 0)
    cuda = estimate_memory(two_b, **sizes, tiles=3 * 2**28, on_cuda=True)
    # a tenth of what comes and goes in a step, and nothing of what stays
    passing = cuda.activations + 8 * 233_373_696 + 805_306_368
    assert cuda.fragmentation == round(passing / 10) and cuda.context == 750_000_000
    assert cuda.total == plain.total + cuda.context + cuda.fragmentation
    assert cuda.resident == cuda.total - cuda.activations - cuda.tiles - cuda.fragmentation


def test_activations_of_2b_are_those_of_the_design(two_b):
    def activations(**sizes):
        sizes = {"text_tokens": 0, "patches": 0} | sizes
        return estimate_memory(two_b, dtype=torch.bfloat16, **sizes).activations

    assert activations(text_tokens=1) == pytest.approx(2.9e6, rel=0.05)
    assert activations(patches=784) == pytest.approx(1.5e9, rel=0.1)


def test_what_is_not_there_costs_nothing(two_b):
    sizes = {"text_tokens": 4096, "patches": 4 * 784, "dtype": torch.bfloat16}
    full = estimate_memory(two_b, **sizes)
    frozen = estimate_memory(two_b, **sizes, freeze_vision=True)
    assert estimate_memory(two_b, **sizes, reference=False).reference == 0
    assert estimate_memory(two_b, **(sizes | {"dtype": torch.float32})).master == 0
    assert frozen.weights == full.weights and frozen.moments < full.moments
    saved = estimate_memory(two_b, **sizes, gradient_checkpointing=True)
    assert saved.activations < full.activations / 10


@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_what_the_graphs_buffers_and_fused_weights_hold(family, tmp_path):
    policy = load_policy(write_checkpoint(tmp_path, family))
    bucket = Bucket(rows=6, slots=64, prompts=3, prompt_slots=128, cells=2)
    buffers, fused = DecodeBuffers(policy.text, bucket), FusedWeights(policy.text, fold_norms=False)
    held = buffers.own.nbytes + buffers.prompts.nbytes
    held += sum(layer.projection.nbytes for layer in fused.layers)
    sizes = {"dtype": torch.float32, "text_tokens": 0, "patches": 0}
    assert estimate_memory(tmp_path, **sizes, decode_bucket=bucket).decoding == held


def test_a_frozen_towers_features_are_counted_up_to_their_bound_and_named(two_b):
    sizes = {"dtype": torch.bfloat16, "text_tokens": 0, "patches": 0}
    estimate = estimate_memory(two_b, **sizes, freeze_vision=True)
    assert estimate.features == LIMIT_BYTES
    assert "features 1.1" in str(estimate) and "decoding" not in str(estimate)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_activation_formula_is_what_autograd_saves(family, tmp_path):
    """On a model wide enough for the per-token tensors to outweigh masks and statistics."""
    wide = {"hidden_size": 512, "intermediate_size": 1536, "num_attention_heads": 16}
    wide |= {"rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]}}
    vision = flat_config(family)["vision_config"] | {"num_heads": 8}
    vision |= (
        {"embed_dim": 256, "hidden_size": 512}
        if family == "qwen2_vl"
        else {"hidden_size": 256, "intermediate_size": 768, "out_hidden_size": 512}
    )
    directory = write_checkpoint(
        tmp_path / family, family, changes=wide | {"vision_config": vision}
    )
    policy = load_policy(directory, dtype=torch.bfloat16)
    prompts = [policy.processor.encode("x" * 100, [random_image(168, 168)])]
    patches = len(prompts[0].pixel_values)
    ids = torch.zeros(2, 101, dtype=torch.int64)
    features = [f.detach() for f in policy.image_features(prompts)]

    text = saved_bytes(
        policy, lambda: completion_hidden(policy, prompts, [2], ids, image_features=features)
    )
    seen = saved_bytes(policy, lambda: policy.image_features(prompts))

    tokens = prompts[0].num_tokens + 2 * 100
    sizes = {"dtype": torch.bfloat16, "reference": False}
    ours = estimate_memory(directory, text_tokens=tokens, patches=0, **sizes).activations
    assert ours == pytest.approx(text, rel=0.2)
    ours = estimate_memory(directory, text_tokens=0, patches=patches, **sizes).activations
    assert ours == pytest.approx(seen, rel=0.25)


def saved_bytes(policy, forward):
    """Bytes of the storages that a forward keeps for its backward, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in policy.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so no address is reused
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = forward()
    del output
    return sum(size for size, _ in kept.values())


def test_a_second_2b_for_comparison_needs_its_weights_and_gradients_in_float32(two_b):
    model = _weightless_model(two_b)
    count = sum(parameter.numel() for parameter in model.parameters())
    none = plain_copy_bytes(model, text_tokens=0, logits=0, patches=0)
    assert none == 8 * count == pytest.approx(17.7 * GB, rel=0.01)
    row = plain_copy_bytes(model, text_tokens=531, logits=257, patches=784)
    # by hand: 257 rows of 151,936 logits four times in float32; the rest is what autograd keeps
    assert row - none > 4 * 4 * 257 * 151_936
    assert row < 25 * GB
