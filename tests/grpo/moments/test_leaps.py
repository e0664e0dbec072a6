"""No weight leaps: with the codes of a GPU, which are the nearest, a small square would become 0.

The library's own kernels for CPUs never have that code, so its place is taken here by plain
formulas; they need no library.
"""

import pytest
import torch
from torch import Tensor, nn

import grpo.moments.adamw_8bit
from grpo.moments.adamw_8bit import AdamW8bit

RATE = 1e-3


class Nearest:
    """The library's functions as their formulas say, each moment rounded to the nearest code."""

    @staticmethod
    def create_dynamic_map(signed: bool) -> Tensor:
        sizes = 10.0 ** torch.linspace(-6.5, 0, 127 if signed else 255)
        return torch.cat(
            [-sizes.flip(0), torch.zeros(1), sizes, torch.full((1,), 1.01)][not signed :]
        )[:256]

    @staticmethod
    def optimizer_update_8bit_blockwise(_name, gradient, weight, codes1, codes2, **n) -> None:
        m = n["beta1"] * read(codes1, n["qmap1"], n["absmax1"]) + (1 - n["beta1"]) * gradient
        v = n["beta2"] * read(codes2, n["qmap2"], n["absmax2"]) + (1 - n["beta2"]) * gradient**2
        first = m / (1 - n["beta1"] ** n["step"])
        second = v / (1 - n["beta2"] ** n["step"])
        weight -= n["lr"] * first / (second.sqrt() + n["eps"])
        write(m, codes1, n["qmap1"], n["absmax1"])
        write(v, codes2, n["qmap2"], n["absmax2"])


def read(codes: Tensor, names: Tensor, scales: Tensor) -> Tensor:
    return (names[codes.int()].view(-1, 256) * scales[:, None]).view(codes.shape)


def write(values: Tensor, codes: Tensor, names: Tensor, scales: Tensor) -> None:
    blocks = values.reshape(-1, 256)
    scales.copy_(blocks.abs().amax(dim=1))
    wanted = (blocks / scales[:, None]).nan_to_num()
    middles = (names[1:] + names[:-1]) / 2
    codes.copy_(torch.searchsorted(middles, wanted.contiguous()).view(codes.shape))


@pytest.fixture(autouse=True)
def nearest(monkeypatch):
    monkeypatch.setattr(grpo.moments.adamw_8bit, "bitsandbytes_functions", lambda _device: Nearest)


def test_weights_of_small_gradients_move_no_further_than_with_float32_moments():
    # gradients of one block as far apart as those of a real model: log-normal
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(2, 64, 512, generator=generator) for _ in range(4)]
    gradients = [size * torch.exp(1.5 * spread) for size, spread in drawn]
    start = torch.randn(64, 512, generator=generator)
    moved = []
    for make in (AdamW8bit, torch.optim.AdamW):
        weight = nn.Parameter(start.clone())
        groups = [{"params": [weight], "weight_decay": 0.0}]
        optimizer = make(groups, lr=RATE, betas=(0.9, 0.999), eps=1e-8)
        for gradient in gradients:
            weight.grad = gradient.clone()
            optimizer.step()
        moved.append(weight.detach() - start)
    rounded, exact = moved
    assert rounded.abs().max() < 2 * exact.abs().max()
    assert torch.cosine_similarity(rounded.flatten(), exact.flatten(), dim=0) > 0.99


def test_a_block_without_any_gradient_stays_where_it_is():
    weight = nn.Parameter(torch.ones(16, 256))
    optimizer = AdamW8bit([{"params": [weight]}], lr=RATE, betas=(0.9, 0.999), eps=1e-8)
    for _ in range(3):
        weight.grad = torch.zeros(16, 256).index_fill(0, torch.tensor(2), 1.0)
        optimizer.step()
    still = weight.detach()[torch.arange(16) != 2]
    assert torch.equal(still, torch.ones_like(still))
    assert (weight.detach()[2] < 1 - 2 * RATE).all()
