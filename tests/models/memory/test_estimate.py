"""The estimate by hand, part by part: the published 2B, and what settings add or take away."""

import pytest
import torch

from models import load_policy
from models.decode.buffers import Bucket, DecodeBuffers
from models.decode.layer import FusedWeights
from models.memory import (
    QUANTIZED_MOMENTS,
    Held,
    MemoryEstimate,
    ModelSizes,
    Work,
    adapter_sizes,
    estimate_memory,
    sizes_of,
    sizes_of_model,
    weightless,
)
from models.memory.forward import Numbers, TextPass, VisionPass
from models.memory.plain_copy import plain_copy_bytes
from models.vision.features import LIMIT_BYTES
from scripts.scale.published import config_of
from tests.models.nano import FAMILIES, write_checkpoint

pytestmark = pytest.mark.model

GB = 1e9
STEP = Work(
    prompts=4, group_size=4, prompt_tokens=324, completion_tokens=256, patches=784, budget=4096
)
CUDA = Held(dtype=torch.bfloat16, checkpointing=True, on_cuda=True, tile_bytes=2**28)
COUNT = 2_208_985_600  # parameters of Qwen2-VL-2B
VISION = 665_271_296  # of them the tower's


@pytest.fixture(scope="module")
def two_b() -> ModelSizes:
    return sizes_of_model(weightless(config_of("2b")))


@pytest.fixture(scope="module")
def seven_b() -> ModelSizes:
    return sizes_of_model(weightless(config_of("7b")))


def estimate(sizes: ModelSizes, work: Work = STEP, **changes) -> MemoryEstimate:
    return estimate_memory(sizes, Held(**{**vars(CUDA), **changes}), work)


def test_the_published_2b_has_the_sizes_that_it_is_published_with(two_b):
    assert (two_b.parameters, two_b.vision) == (COUNT, VISION)
    assert two_b.embedding == 151_936 * 1536 and two_b.tied


def test_full_fine_tuning_of_2b_needs_44_gb_before_activations(two_b):
    parts = estimate(two_b).parts
    model = ("weights", "master", "moments", "reference")
    assert {part: round(parts[part] / GB, 1) for part in model} == {
        "weights": 4.4,
        "master": 8.8,
        "moments": 17.7,
        "reference": 4.4,
    }
    # and the largest matrix' gradient, D F in bf16 and in fp32, before it is added
    largest = two_b.largest
    assert parts["gradients"] == 4 * COUNT + (2 + 4) * largest
    assert largest == 5120 * 5120  # the merger's


def test_the_embeddings_gradients_by_hand(two_b, seven_b):
    # V D = 151,936 x 1,536. Tied, bf16: two gradients of 2 bytes, or one and its fp32 copy: 6.
    assert estimate(two_b).of("embedding") == 6 * 233_373_696
    # A whole step's first gradients are added to nothing: the copy is the sum itself.
    whole = Work(**{**vars(STEP), "budget": 1 << 20})
    assert estimate(two_b, whole).of("embedding") == 4 * 233_373_696
    # Untied, each is made and copied alone.
    assert estimate(seven_b).of("embedding") == 6 * 152_064 * 3584
    assert estimate(seven_b, whole).of("embedding") == 2 * 152_064 * 3584


def test_what_cuda_and_its_allocator_take_by_hand(two_b):
    cuda = estimate(two_b)
    assert cuda.of("context") == 750_000_000
    passing = sum(
        size for part, size in cuda.at_peak.items()
        if part in ("activations", "tiles", "embedding", "decode step")
    )  # fmt: skip
    assert cuda.at_peak["fragmentation"] == round(passing / 10)
    on_cpu = estimate(two_b, on_cuda=False)
    assert on_cpu.of("context") == on_cpu.of("fragmentation") == 0


def test_tiles_are_one_and_a_half_of_their_size_on_cuda(two_b):
    # a group is 324 + 4 x 256 tokens: three of them, 12 rows, share the 4,096 of a micro-batch
    states = 12 * 256 * 1536 * 4
    assert estimate(two_b).of("tiles") == 2**28 * 3 // 2 + 2 * states


def test_activations_of_2b_by_hand(two_b):
    bf16 = Numbers(size=2, padded=False)
    # per token of a layer: two norms of 8 D bytes, query and read 2 D, keys and values 2 x 256, the
    # MLP's four widths, and 4 bytes of log-sum-exp for each of 12 heads
    layer = 2 * 8 * 1536 + 2 * (2 * 1536 + 2 * 256 + 4 * 8960) + 4 * 12
    text = TextPass(two_b, bf16, prompts=1, prompt_tokens=1000, rows=1, fed=0)
    assert text.layer == 1000 * layer
    assert text.kept(checkpointing=False) == pytest.approx(1000 * 28 * layer, rel=0.01)
    inputs = 28 * 1000 * 1536 * 2
    assert text.kept(checkpointing=True) == pytest.approx(inputs, rel=0.02)
    # per patch of a block: two LayerNorms of 2 E, attention's 7 E, three widths, 16 heads
    block = 2 * (2 * 2 * 1280 + 7 * 1280 + 3 * 5120) + 4 * 16
    image = VisionPass(two_b, bf16, patches=784)
    assert image.block == 784 * block
    assert image.kept(checkpointing=False) == pytest.approx(32 * 784 * block, rel=0.02)


def test_what_is_not_there_costs_nothing(two_b):
    full = estimate(two_b)
    assert estimate(two_b, reference="none").of("reference") == 0
    assert estimate(two_b, dtype=torch.float32).of("master") == 0
    frozen = estimate(two_b, freeze_vision=True)
    assert frozen.of("weights") == full.of("weights")
    assert frozen.of("moments") == 8 * (COUNT - VISION)
    assert frozen.of("reference") == 2 * (COUNT - VISION)  # the tower is the policy's own
    assert frozen.of("features") == LIMIT_BYTES and full.of("features") == 0
    kept = estimate(two_b, checkpointing=False)
    assert full.of("activations") < kept.of("activations") / 8
    on_cpu = estimate(two_b, reference="cpu")
    layers = two_b.text.total + two_b.tower.total
    assert on_cpu.of("reference") == 2 * (COUNT - layers)
    assert on_cpu.host == {"reference": 2 * layers}


def test_moments_of_eight_bits_and_an_optimizer_on_the_cpu(two_b):
    small = estimate(two_b, moment_bytes=QUANTIZED_MOMENTS)
    assert small.of("moments") == pytest.approx(2.03 * COUNT, rel=0.001)
    away = estimate(two_b, offloads_optimizer=True)
    assert away.of("master") == away.of("moments") == 0
    assert away.of("gradients") == 2 * two_b.largest  # one on its way
    assert away.host == {"master": 4 * COUNT, "moments": 8 * COUNT, "gradients": 4 * COUNT}


def test_ranks_share_master_moments_gradients_and_reference_and_each_has_a_copy_to_decode(two_b):
    share = -(-COUNT // 8)
    eight = estimate(two_b, Work(**{**vars(STEP), "prompts": 1}), ranks=8)
    assert eight.of("weights") == 0  # gathered layer by layer from the master
    assert eight.of("master") == pytest.approx(4 * share, abs=8)
    assert eight.of("moments") == pytest.approx(8 * share, abs=8)
    assert eight.of("sampler") == 2 * COUNT
    assert eight.of("reference") == pytest.approx(2 * share + 2 * two_b.outside, abs=8)
    layer = two_b.text.parameters
    gathered = 2 * 2 * layer + (2 + 4) * layer + 2 * two_b.outside
    assert eight.of("gathered") == gathered
    kept = estimate(two_b, Work(**{**vars(STEP), "prompts": 1}), ranks=8, keeps_weights=True)
    assert kept.of("gathered") == 2 * COUNT + (2 + 4) * layer
    assert eight.total < estimate(two_b).total / 2


def test_adapters_alone_are_trained_and_are_their_own_reference(two_b):
    model = weightless(config_of("2b"))
    adapters = adapter_sizes(model, 16, ("text",))
    # of a layer: q, o 2 x (1536 + 1536), k, v 2 x (1536 + 256), gate, up, down 3 x (1536 + 8960)
    per_layer = 16 * (2 * 3072 + 2 * 1792 + 3 * 10_496)
    assert adapters.parameters == 28 * per_layer
    lora = estimate(two_b, adapters=adapters)
    assert lora.of("moments") == 8 * adapters.parameters
    assert lora.of("weights") == 2 * COUNT + 4 * adapters.parameters
    merging = (4 + 4) * 1536 * 8960  # one matrix after the other, in float32
    assert lora.of("sampler") == 2 * adapters.merged + merging
    assert lora.of("master") == lora.of("reference") == lora.of("embedding") == 0
    assert adapters.merged == 28 * (2 * 1536**2 + 2 * 1536 * 256 + 3 * 1536 * 8960)
    assert adapter_sizes(model, 0, ("text",)) is None
    # each of several gathers the frozen weights to decode; a frozen tower it has whole anyway
    tower = sum(weight.numel() for weight in model.model.visual.parameters())
    shared = estimate(two_b, adapters=adapters, ranks=8)
    for part in ("moments", "gradients"):  # adapters are whole in all of them
        assert shared.of(part) == lora.of(part)
    spread = -(-2 * (COUNT - tower) // 8)
    assert shared.of("weights") == 2 * tower + spread + 4 * adapters.parameters
    assert shared.of("sampler") == 2 * (COUNT - tower + adapters.merged) + merging


@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_is_what_the_graphs_buffers_and_fused_weights_hold(family, tmp_path):
    policy = load_policy(write_checkpoint(tmp_path, family))
    bucket = Bucket(rows=6, slots=64, prompts=3, prompt_slots=128, cells=2)
    buffers, fused = DecodeBuffers(policy.text, bucket), FusedWeights(policy.text, fold_norms=False)
    work = Work(
        prompts=3, group_size=2, prompt_tokens=128, completion_tokens=64, patches=4, budget=64
    )
    held = Held(dtype=torch.float32, on_cuda=True)
    parts = estimate_memory(tmp_path, held, work).parts
    assert parts["decode cache"] == buffers.own.nbytes
    assert parts["prompt cache"] == buffers.prompts.nbytes
    assert parts["decode weights"] == sum(layer.projection.nbytes for layer in fused.layers)


def test_the_peak_is_the_moment_with_the_largest_sum_and_says_its_largest_part_first(two_b):
    found = estimate(two_b)
    sums = {moment: sum(parts.values()) for moment, parts in found.moments.items()}
    assert found.total == max(sums.values()) == sums[found.peak]
    assert str(found).startswith(
        f"{found.total / GB:.1f} GB (moments 17.7, gradients 9.0, master 8.8"
    )
    assert found.staying == sum(
        found.of(part)
        for part in ("weights", "master", "moments", "gradients", "reference", "prompt cache",
                     "decode cache", "decode weights", "graphs", "context", "fragmentation")
    )  # fmt: skip


def test_a_smaller_budget_never_needs_more(two_b):
    totals = [
        estimate(two_b, Work(**{**vars(STEP), "budget": budget})).total
        for budget in (600, 1024, 2048, 4096)
    ]
    assert totals == sorted(totals)


def test_a_second_2b_for_comparison_needs_its_weights_and_gradients_in_float32():
    model = weightless(config_of("2b"))
    none = plain_copy_bytes(model, text_tokens=0, logits=0, patches=0)
    assert none == pytest.approx(8 * COUNT, rel=1e-5) == pytest.approx(17.7 * GB, rel=0.01)
    row = plain_copy_bytes(model, text_tokens=531, logits=257, patches=784)
    # by hand: 257 rows of 151,936 logits four times in float32; the rest is what autograd keeps
    assert row - none > 4 * 4 * 257 * 151_936
    assert row < 25 * GB


def test_the_tiny_models_sizes_are_those_of_its_weights():
    policy = load_policy("tiny")
    assert sizes_of("tiny").parameters == sum(p.numel() for p in policy.parameters())
