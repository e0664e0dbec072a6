"""8-bit moments against float32 ones: one update by a derived bound, many by what they reach."""

import math

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from grpo.moments.adamw_8bit import AdamW8bit, dequantized, is_quantized, moment_bytes
from grpo.optimizer import PolicyOptimizer
from grpo.run.exploded import not_finite
from grpo.settings.config import GRPOConfig

pytest.importorskip("bitsandbytes", reason="the extra low_memory is not installed")

LR, BETA1, BETA2, EPS = 1e-2, 0.9, 0.999, 1e-8


def weight_of(*shape: int, seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def eight_bit(*weights: nn.Parameter, weight_decay: float = 0.0) -> AdamW8bit:
    groups = [{"params": list(weights), "weight_decay": weight_decay}]
    return AdamW8bit(groups, lr=LR, betas=(BETA1, BETA2), eps=EPS)


def float32(*weights: nn.Parameter, weight_decay: float = 0.0) -> torch.optim.AdamW:
    return torch.optim.AdamW(weights, lr=LR, eps=EPS, weight_decay=weight_decay)


def move(optimizer: torch.optim.Optimizer, *gradients: Tensor) -> None:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient.clone()
    optimizer.step()


# Gradients as a model's: rows differ by orders of magnitude, some have none.
SCALES = 10.0 ** torch.linspace(-6, 1, 32)[:, None]
GRADIENTS = [
    torch.randn(32, 512, generator=torch.Generator().manual_seed(i)) * SCALES for i in (1, 2)
]
GRADIENTS = [gradient.index_fill(0, torch.tensor(5), 0.0) for gradient in GRADIENTS]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_first_update_is_float32s_since_nothing_is_rounded_yet(weight_decay):
    ours, theirs = weight_of(32, 512), weight_of(32, 512)
    move(eight_bit(ours, weight_decay=weight_decay), GRADIENTS[0])
    move(float32(theirs, weight_decay=weight_decay), GRADIENTS[0])
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def most_errors(values: Tensor, state: dict[str, Tensor], moment: str) -> Tensor:
    """The most by which rounding moves each of the values: half of what lies between two codes.

    A CPU's kernels look codes up in a table of 2^16 steps from -1 to 1, so near 0 by one more.
    """
    scale = state[f"{moment}_scale"].repeat_interleave(256, dim=1)
    where = (values / scale).nan_to_num().contiguous()
    codes = state[f"{moment}_map"]
    above = torch.searchsorted(codes, where).clamp(1, 255)
    return ((codes[above] - codes[above - 1]) / 2 + 2**-15) * scale


def test_an_update_from_rounded_moments_lies_between_those_of_the_moments_they_can_stand_for():
    ours, theirs = weight_of(32, 512), weight_of(32, 512)
    rounded, exact = eight_bit(ours), float32(theirs)
    for optimizer in (rounded, exact):
        move(optimizer, GRADIENTS[0])
    state, moments = rounded.state[ours], exact.state[theirs]
    state = {key: value.clone() for key, value in state.items()}
    start = theirs.detach().clone()
    m, v = moments["exp_avg"].clone(), moments["exp_avg_sq"].clone()
    for optimizer in (rounded, exact):
        move(optimizer, GRADIENTS[1])

    error_m, error_v = most_errors(m, state, "exp_avg"), most_errors(v, state, "exp_avg_sq")
    assert ((dequantized(state, "exp_avg") - m).abs() <= error_m * 1.001).all()
    assert ((dequantized(state, "exp_avg_sq") - v).abs() <= error_v * 1.001).all()
    # The update is monotone in either moment, so its extremes lie at the corners.
    ends = []
    for sign_m in (-1, 1):
        for sign_v in (-1, 1):
            first = BETA1 * (m + sign_m * error_m) + (1 - BETA1) * GRADIENTS[1]
            second = BETA2 * (v + sign_v * error_v).clamp(min=0) + (1 - BETA2) * GRADIENTS[1] ** 2
            size = (first / (1 - BETA1**2)) / ((second / (1 - BETA2**2)).sqrt() + EPS)
            ends.append(start - LR * size)
    low, high = torch.stack(ends).amin(0), torch.stack(ends).amax(0)
    assert ((ours >= low - 1e-5) & (ours <= high + 1e-5)).all()
    assert ((ours - theirs).abs() > 1e-5).any()  # they are rounded


def test_a_quadratic_is_brought_as_low():
    # curvatures over three orders of magnitude; rate and steps as a fine-tuning's end: falling
    curvature = 10.0 ** torch.linspace(-1, 2, 512)
    target = weight_of(16, 512, seed=9).detach()

    def descend(make) -> float:
        weight = weight_of(16, 512)
        optimizer = make(weight)
        for step in range(300):
            for group in optimizer.param_groups:
                group["lr"] = 6e-2 * (1 - step / 300)
            move(optimizer, curvature * (weight.detach() - target))
        return (curvature * (weight.detach() - target) ** 2).mean().item()

    start = (curvature * (weight_of(16, 512).detach() - target) ** 2).mean().item()
    reached = {make.__name__: descend(make) for make in (eight_bit, float32)}
    assert reached["float32"] < 1e-3 * start
    assert reached["eight_bit"] < 1e-3 * start, reached


@pytest.mark.parametrize("shape", [(4096,), (15, 256), (40, 255), (8, 3, 2, 14, 14)])
def test_few_weights_and_rows_of_no_whole_blocks_keep_float32_moments(shape):
    ours, theirs = weight_of(*shape), weight_of(*shape)
    mine, other = eight_bit(ours, weight_decay=0.1), float32(theirs, weight_decay=0.1)
    for seed in range(4):
        for optimizer in (mine, other):
            move(optimizer, weight_of(*shape, seed=seed).detach())
    assert not is_quantized(shape)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    moments = mine.state[ours], other.state[theirs]
    for key in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(moments[0][key], moments[1][key], atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("shape", [(16, 256), (100, 512), (16, 3, 16, 32), (40, 255), (300,)])
def test_the_moments_take_what_is_said_two_bytes_a_weight_and_a_scale_per_block(shape):
    weight = weight_of(*shape)
    optimizer = eight_bit(weight)
    move(optimizer, torch.ones(shape))
    taken = sum(v.nbytes for k, v in optimizer.state[weight].items() if k != "step")
    assert taken == moment_bytes("adamw_8bit", [shape])
    if is_quantized(shape):
        assert taken == weight.numel() * (2 + 2 * 4 / 256) + 2 * 1024
    else:
        assert taken == moment_bytes("adamw", [shape]) == weight.numel() * 8


# --- as a policy's optimizer --------------------------------------------------------------------


def network(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(256, 32), nn.Tanh(), nn.Linear(32, 3)).to(dtype)


def optimizer_of(policy: nn.Module, **settings) -> PolicyOptimizer:
    settings = {"learning_rate": 1e-2, "optimizer": "adamw_8bit"} | settings
    optimizer = PolicyOptimizer(policy, GRPOConfig(**settings), total_steps=10)
    optimizer.start_step(0)
    return optimizer


def step(policy: nn.Module, optimizer: PolicyOptimizer, number: int) -> None:
    optimizer.start_step(number)
    optimizer.zero_grad()
    torch.manual_seed(number)
    policy(torch.randn(16, 256).to(policy[0].weight.dtype)).square().mean().backward()
    optimizer.step(max_grad_norm=1.0)


def test_weights_move_by_the_rate_of_the_step_and_only_matrices_decay():
    policy = network(torch.float32)
    optimizer = optimizer_of(policy, weight_decay=0.1, lr_schedule="linear")
    optimizer.start_step(5)  # half of 1e-2
    before = {name: value.detach().clone() for name, value in policy.named_parameters()}
    for parameter in policy.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(max_grad_norm=1e9)
    for name, value in policy.named_parameters():
        kept = 1 - 5e-3 * 0.1 if value.dim() > 1 else 1
        torch.testing.assert_close(value.detach(), before[name] * kept - 5e-3, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_going_on_from_the_saved_state_is_bitwise_the_same(dtype):
    whole = network(dtype)
    optimizer = optimizer_of(whole)
    for number in range(6):
        step(whole, optimizer, number)

    first = network(dtype)
    optimizer = optimizer_of(first)
    for number in range(3):
        step(first, optimizer, number)
    state = optimizer.state_tensors()
    assert state["exp_avg/0.weight"].dtype == torch.uint8
    file = save({name: value.contiguous() for name, value in state.items()})  # nothing pickled

    second = network(dtype)
    second.load_state_dict(first.state_dict())
    resumed = optimizer_of(second)
    resumed.load_state_tensors(load(file))
    for number in range(3, 6):
        step(second, resumed, number)
    assert all(map(torch.equal, second.parameters(), whole.parameters()))


@pytest.mark.parametrize("kinds", [("adamw", "adamw_8bit"), ("adamw_8bit", "adamw")])
def test_the_state_of_the_other_kind_is_refused(kinds):
    policy = network(torch.float32)
    optimizers = [optimizer_of(policy, optimizer=kind) for kind in kinds]
    step(policy, optimizers[0], 0)
    with pytest.raises(ValueError, match=r"0\.weight"):
        optimizers[1].load_state_tensors(optimizers[0].state_tensors())


def test_a_moment_that_is_not_finite_is_seen():
    policy = network(torch.float32)
    optimizer = optimizer_of(policy)
    step(policy, optimizer, 0)
    assert not_finite(optimizer.state_tensors()) == []
    optimizer.adamw.state[policy[0].weight]["exp_avg_scale"][3, 0] = math.nan
    assert not_finite(optimizer.state_tensors()) == ["exp_avg_scale/0.weight"]
    moment = dequantized(optimizer.adamw.state[policy[0].weight], "exp_avg")
    assert moment[3].isnan().any() and moment[:3].isfinite().all()


def test_a_weight_without_a_gradient_or_without_rows_here_stays_and_the_others_move():
    with_one, without, empty = weight_of(32, 512), weight_of(32, 512, seed=1), weight_of(0, 256)
    before, kept = with_one.detach().clone(), without.detach().clone()
    optimizer = eight_bit(with_one, without, empty)
    with_one.grad, empty.grad = GRADIENTS[0].clone(), torch.zeros(0, 256)
    optimizer.step()
    assert torch.equal(without, kept) and without not in optimizer.state
    assert not torch.equal(with_one, before)
    assert optimizer.state[empty]["step"] == 1  # as everywhere, so that all save the same


def test_a_moment_that_was_never_rounded_is_read_as_it_is():
    moment = torch.tensor([0.1, -0.2])
    assert dequantized({"exp_avg": moment}, "exp_avg") is moment


def test_a_sharded_weight_moves_as_a_whole_one_with_its_moments_beside_its_rows():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        whole, sharded = weight_of(32, 512), nn.Parameter(spread(weight_of(32, 512), mesh))
        ours, theirs = eight_bit(sharded), eight_bit(whole)
        for gradient in GRADIENTS:
            whole.grad, sharded.grad = gradient.clone(), spread(gradient.clone(), mesh)
            ours.step()
            theirs.step()
        assert torch.equal(sharded.to_local(), whole)
        state, expected = ours.state[sharded], theirs.state[whole]
        assert state.keys() == expected.keys()
        for key in ("exp_avg", "exp_avg_sq", "exp_avg_scale", "exp_avg_sq_scale"):
            assert isinstance(state[key], DTensor) and state[key].placements == (Shard(0),)
            assert torch.equal(state[key].to_local(), expected[key])
        assert not isinstance(state["exp_avg_map"], DTensor)  # every process has the whole map
    finally:
        distributed.destroy_process_group()


def spread(tensor: Tensor, mesh: DeviceMesh) -> DTensor:
    return distribute_tensor(tensor.detach(), mesh, [Shard(0)])
