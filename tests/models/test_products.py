"""Adding products of bfloat16 matrices in float32: torch's call for it is used where it is right.

The call exists on a GPU alone, so here fakes of it stand in: one that is right, and wrong ones.
"""

import warnings

import pytest
import torch

from grpo.logprobs import tiles
from grpo.logprobs.tiles import _add_product, _adds_products_of_bf16, _product

CPU = torch.device("cpu")


def exact(a, b):
    return a.float() @ b.float()


def as_it_lies(matrix):
    """What a call that knows no strides would read."""
    return matrix.as_strided(matrix.shape, (matrix.shape[1], 1))


WRONG = {
    "the sum before is lost": lambda _total, a, b: exact(a, b),
    "nothing is added": lambda total, _a, _b: total,
    "the sum before counts twice": lambda total, a, b: 2 * total + exact(a, b),
    "the product is rounded": lambda total, a, b: total + exact(a, b).bfloat16(),
    "the result is rounded": lambda total, a, b: (total + exact(a, b)).bfloat16().float(),
    "a transposed factor is read as it lies": lambda total, a, b: (
        total + exact(as_it_lies(a), as_it_lies(b))
    ),
    "NaN": lambda total, _a, _b: total * torch.nan,
}


@pytest.fixture
def addmm(monkeypatch):
    """Put a function of (total, a, b) in torch.addmm's place, its result written to `out`."""
    used = []

    def install(result):
        def fake(total, a, b, *, out_dtype, out):
            assert a.dtype == b.dtype == torch.bfloat16 and out_dtype == torch.float32
            used.append((a.shape, b.shape))
            return out.copy_(result(total, a, b))

        monkeypatch.setattr(torch, "addmm", fake)
        return used

    def mm(a, b, *, out_dtype):
        return (a.double() @ b.double()).to(out_dtype)

    monkeypatch.setattr(torch, "mm", mm)
    _adds_products_of_bf16.cache_clear()
    yield install
    _adds_products_of_bf16.cache_clear()


def factors():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(8, 8, generator=generator).bfloat16() for _ in range(2))
    return torch.randn(8, 8, generator=generator), a, b


def test_a_right_one_is_used(addmm):
    used = addmm(lambda total, a, b: total + exact(a, b))
    assert _adds_products_of_bf16(CPU)
    tried = len(used)
    total, a, b = factors()
    expected = total + exact(a, b)
    _add_product(total, a, b)
    assert len(used) == tried + 1 and torch.equal(total, expected)


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_one_is_not_and_says_so_once(addmm, mistake):
    addmm(WRONG[mistake])
    total, a, b = factors()
    expected = total + exact(a, b)
    with pytest.warns(RuntimeWarning, match=r"addmm\(out_dtype=\) of torch .* adds wrongly on cpu"):
        _add_product(total, a, b)
    torch.testing.assert_close(total, expected)
    with warnings.catch_warnings(action="error"):
        _add_product(total, a, b)
    torch.testing.assert_close(total, expected + exact(a, b))


def test_one_that_returns_its_result_and_leaves_out_alone_is_not_used(addmm, monkeypatch):
    addmm(lambda *_: None)
    monkeypatch.setattr(torch, "addmm", lambda total, a, b, **_: total + exact(a, b))
    with pytest.warns(RuntimeWarning, match="adds wrongly"):
        assert not _adds_products_of_bf16(CPU)


@pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, TypeError])
def test_a_torch_without_it_is_no_reason_to_warn(addmm, error):
    def missing(*_):
        raise error("out_dtype")

    addmm(missing)
    assert not _adds_products_of_bf16(CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("turned", [False, True])
def test_products_on_a_gpu_are_those_of_whole_numbers(turned):
    device = torch.device("cuda", torch.cuda.current_device())
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randint(-9, 10, size, generator=generator) for size in ((64, 256), (256, 40)))
    expected = a @ b  # whole numbers below 2 ** 24, exact in float32 however they are added
    a, b = (t.to(device, torch.bfloat16) for t in (a, b))
    if turned:
        a, b = (t.t().contiguous().t() for t in (a, b))
    total = torch.full((64, 40), 0.5, device=device)
    for times in (1, 2):
        _add_product(total, a, b)
        assert torch.equal(total.cpu(), 0.5 + times * expected.float())
    out = torch.empty(64, 40, device=device)
    _product(a, b, out=out)
    assert torch.equal(out.cpu(), expected.float())
    print("in place:", tiles._adds_products_of_bf16(device))
