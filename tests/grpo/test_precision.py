"""What docs/precision.md says of half precision, watched while it runs.

A bfloat16 policy samples, is scored by itself and by a reference, is updated and evaluated, and
every operation of it is looked at (tests/grpo/half_watch.py). What runs inside one operator of
torch, attention and the vision tower's norms, is held against float64 instead.
"""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.qwen2_vl.modeling_qwen2_vl import rotate_half

import models.shared.layers
from evaluation.asking.option_letters import letter_probabilities
from grpo.clock import StepClock
from grpo.logprobs import tiles
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch
from grpo.sampling import generate_greedy
from grpo.settings.config import GRPOConfig
from grpo.step import train_step
from models import load_policy
from models.checkpoint.offload import offload_layers
from models.checkpoint.saving import save_policy
from models.decode import prompt_readers
from models.decode.prompt_readers import SharedPromptsByFlash, SharedPromptsByProducts
from models.rotary import rotary_tables, rotate, rotation_matrix, signed
from models.shared.folding import folded_attention
from models.shared.merged import MergedAttention
from models.vision.tower import _attend_batch
from rewards.bound import each
from tests.grpo.half_watch import HalfWatch
from tests.models.decode.decode_cases import unlike_prompts
from tests.models.nano import FAMILIES, write_checkpoint

pytestmark = pytest.mark.model

CONFIG = GRPOConfig(
    group_size=4,
    prompts_per_step=3,
    max_completion_tokens=12,
    micro_batch_tokens=120,  # groups are split
    num_iterations=2,
    top_k=50,
    top_p=0.9,
    rewards=("length",),
    reward_weights=(1.0,),
    temperature=0.8,
)
HALF = torch.bfloat16


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request, tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("half") / "model", request.param)


@pytest.fixture
def policy(checkpoint):
    return load_policy(checkpoint, dtype="bfloat16")


@pytest.fixture
def watch(monkeypatch):
    """A watch that also sees what runs inside the log-prob operators."""
    found = HalfWatch()

    def inside(function):
        def watched(*args, **kwargs):
            with found:
                return function(*args, **kwargs)

        return watched

    for name in ("forward", "backward"):
        monkeypatch.setattr(tiles, name, inside(getattr(tiles, name)))
    return found


def a_step(policy):
    prompts = tuple(unlike_prompts(policy))
    batch = PromptBatch(prompts, (0, 1, 2), (0, 1, 2), 0)
    reference = load_policy(policy.path, dtype="bfloat16").requires_grad_(False)
    optimizer = PolicyOptimizer(policy, CONFIG, total_steps=3)
    reward = {"length": each(lambda text, _example: len(text))}
    return train_step(policy, reference, optimizer, batch, reward, CONFIG, StepClock(policy.device))


@pytest.mark.parametrize("way", ["graphs", "flash", "products"])
def test_a_step_computes_in_float32_what_must_be(policy, watch, way, monkeypatch):
    """Rollout, reference, two passes of the update, optimizer and metrics."""
    monkeypatch.setattr(policy, "decode_graphs", "stand-in" if way == "graphs" else "off")
    if way == "products":
        monkeypatch.setattr(prompt_readers, "SharedPromptsByFlash", SharedPromptsByProducts)
    with watch:
        result = a_step(policy)
    assert watch.broken == []
    assert all(isinstance(value, float | None) for value in result.metrics.values())
    wide = {name for name, dtype in watch.seen if dtype == torch.float32}
    assert {"exp", "rsqrt", "cumsum", "cos", "expm1", "_fused_adamw_", "mean"} <= wide
    assert ("_softmax" in wide) == (way != "flash")


def test_an_evaluation_computes_in_float32_what_must_be(policy, watch):
    prompts = unlike_prompts(policy)
    with watch:
        generate_greedy(policy, prompts, 8)
        letters = letter_probabilities(policy, prompts, ["<answer>B", "C", "<answer>A"], [4, 4, 3])
    assert watch.broken == []
    assert watch.seen["_softmax", torch.float64] == 2 and letters[1] is None
    assert watch.seen["argmax", torch.float32] == 8


READS = ("prompts", "folded", "vision", "merged", "shared flash", "shared products")
on_each_device = pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
            ],
        ),
    ],
)


@on_each_device
@pytest.mark.parametrize("read", READS)
def test_no_attention_rounds_a_score(read, device):
    """Scores near 2,000, whose rounding to bfloat16 is an error of 0.08 to 0.19 in what is read."""
    if device == "cuda" and read in ("merged", "shared flash"):
        pytest.skip("a CPU's alone")
    M, heads, P, C, d = 4, 2, 20, 6, 64  # every row has its own prompt of P tokens
    generator = torch.Generator().manual_seed(0)
    shapes = [(M, heads, length, d) for length in (C, P + C, P + C)]
    query, key, value = (torch.randn(shape, generator=generator) for shape in shapes)
    for tensor in (query, key):
        tensor[..., 0] += 45
    query, key, value = (tensor.to(device, HALF) for tensor in (query, key, value))
    scale = d**-0.5
    length = 1 if read.startswith("shared") else C  # a decode step reads one token
    query = query[:, :, :length]
    seen = torch.ones(length, P + C, dtype=torch.bool, device=device)
    if read == "prompts":  # causal, of as many keys as queries
        key, value, seen = key[:, :, :C], value[:, :, :C], seen[:, :C].tril()
    elif read in ("folded", "merged"):
        seen = seen.tril(P)
    mask = torch.zeros(seen.shape, dtype=HALF, device=device).masked_fill_(~seen, -torch.inf)
    parts = (key[:, :, :P], value[:, :, :P], key[:, :, P:], value[:, :, P:])
    prompts = ([parts[0]], [parts[1]], None, torch.arange(M, device=device))
    found = {
        "prompts": lambda: scaled_dot_product_attention(query, key, value, is_causal=True),
        "folded": lambda: folded_attention(query, key, value, mask=mask, scale=scale),
        "vision": lambda: (
            _attend_batch(*(tensor.transpose(1, 2) for tensor in (query, key, value)), scale=scale)
            .unflatten(0, (M, -1))
            .transpose(1, 2)
        ),
        "merged": lambda: MergedAttention.apply(query, *parts, None, mask[:, P:], scale),
        "shared flash": lambda: SharedPromptsByFlash(*prompts).read(0, query, *parts[2:], scale),
        "shared products": lambda: SharedPromptsByProducts(*prompts).read(
            0, query, *parts[2:], scale
        ),
    }[read]()
    scores = query.double() @ key.double().transpose(2, 3) * scale
    assert scores.mean() > 200
    exact = scores.masked_fill(~seen, -torch.inf).softmax(dim=3) @ value.double()
    assert found.dtype == HALF
    assert (found.double() - exact).abs().mean() < 3e-3


@on_each_device
def test_a_layer_norm_computes_in_float32_and_rounds_once(device):
    norm = torch.nn.LayerNorm(256, device=device, dtype=HALF)
    torch.nn.init.normal_(norm.weight, 1.0)
    x = (100 + torch.randn(64, 256)).to(device, HALF)  # a mean that squares badly in half precision
    exact = torch.nn.functional.layer_norm(x.double(), (256,), norm.weight.double(), None, norm.eps)
    assert (norm(x).double() - exact).abs().max() < 2**-8 * exact.abs().max()


def test_every_way_turns_a_token_alike_and_rounds_it_once(policy):
    """The update's layers, the eager step and the matrix of the graphs' step."""
    d = policy.text.layers[0].self_attn.head_dim
    positions = torch.arange(7, 47).expand(3, 1, -1)  # T = 40
    cos, sin = (table[0] for table in rotary_tables(policy.text, positions))  # (T, d)
    assert cos.dtype == torch.float32 and torch.equal(cos, cos.to(HALF).float())
    x = 10 * torch.randn(40, 3, d, generator=torch.Generator().manual_seed(0)).to(HALF)
    swapped = rotate_half(x.double())
    exact = (x.double() * cos[:, None].double() + swapped * sin[:, None].double()).to(HALF)

    eye, tables = (
        torch.eye(d, dtype=HALF),
        (table[:, None].to(HALF) for table in (cos, signed(sin))),
    )
    matrix = rotation_matrix(*tables, eye, eye.roll(d // 2, 0))
    turned = (
        models.shared.layers._rotated(x, cos[:, None], sin[:, None]),
        rotate(x, cos[:, None], signed(sin)[:, None]),
        torch.bmm(x, matrix),
    )
    for one in turned:
        assert one.dtype == HALF
        assert (one == exact).float().mean() > 0.999  # a tie of the float32 sum may fall otherwise


@pytest.mark.parametrize("way", ["loaded", "saved", "offloaded"])
def test_rotary_frequencies_stay_float32(policy, way, tmp_path):
    if way == "saved":
        save_policy(policy, tmp_path / "saved")
        policy = load_policy(tmp_path / "saved", dtype="bfloat16")
    if way == "offloaded":
        policy = offload_layers(policy, "cpu")
    for rotary in (policy.text.rotary_emb, policy.visual.rotary_pos_emb):
        assert rotary.inv_freq.dtype == torch.float32


def test_rewards_are_float64_and_what_is_made_of_them_float32(policy):
    result = a_step(policy)
    completions = result.rollout.completions
    assert completions.logprobs.dtype == completions.entropies.dtype == torch.float32
    assert result.rewards_per_fn.dtype == torch.float64
    assert result.advantages.dtype == torch.float32


def test_pixels_are_float32_until_the_vision_tower_takes_them(policy):
    (prompt,) = unlike_prompts(policy)[:1]
    taken = []
    block = policy.visual.blocks[0]
    handle = block.register_forward_pre_hook(lambda _, args: taken.append(args[0].dtype))
    policy.image_features([prompt])
    handle.remove()
    assert (prompt.pixel_values.dtype, taken) == (torch.float32, [HALF])
