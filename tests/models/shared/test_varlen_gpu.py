"""Varlen flash on a real card, in half precision: near float64, in memory that grows with tokens.

The same cases run on slow stand-ins of the two calls in tests/models/shared/test_varlen.py.
"""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from models import load_policy
from models.shared.flash import ATEN, flash_for
from models.shared.varlen import varlen_attention
from tests.models.hidden import completion_hidden
from tests.models.nano import random_image
from tests.models.shared.varlen_cases import CASES, GRADIENTS, SCALE, Case, relative, run, truth

CUDA = torch.device("cuda")
pytestmark = [
    pytest.mark.model,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
BARS = {torch.bfloat16: 2e-2, torch.float16: 3e-3}  # relative L2
REAL = Case([275, 300, 1], [4, 2, 1], [130, 1, 64, 0, 128, 129, 5], heads=12, key_heads=2, size=128)


@pytest.fixture(autouse=True)
def flash():
    """Skip where the card has none; else leave NaN in freed memory, for what is never written."""
    if flash_for(CUDA, torch.bfloat16, 128) is None:
        pytest.skip("this card has no varlen flash attention")
    del [torch.full((size,), torch.nan, device=CUDA) for size in (64, 4096, 2**20, 2**24)][:]


@pytest.mark.parametrize("case", [*CASES.values(), REAL], ids=[*CASES, "real sizes"])
@pytest.mark.parametrize("dtype", BARS)
def test_read_and_gradients_are_near_the_truth(case, dtype):
    inputs = case.inputs(dtype, device="cuda")
    ours, expected = run(ATEN, case, inputs), truth(case, inputs)
    for name, one, other in zip(("read", *GRADIENTS), ours, expected, strict=True):
        assert one.dtype == dtype
        assert relative(one, other) < BARS[dtype], name


def test_memory_grows_with_tokens_not_with_a_mask():
    case = Case([1024] * 4, [16] * 4, [1024] * 64, heads=2, key_heads=1, size=32)
    mask_bytes = 64 * (2 * 1024) * (1024 + 1024) * 2  # (M, 1, C H / Hkv, P + C)
    packed = [tensor.requires_grad_() for tensor in case.inputs(torch.bfloat16, device="cuda")]
    segments = case.segments("cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    varlen_attention(*packed, segments, ATEN, scale=SCALE).sum().backward()
    assert torch.cuda.max_memory_allocated() - before < mask_bytes / 4


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_a_policy_in_bfloat16_is_as_near_to_float32_as_with_masks(nano_policy, checkpointing):
    encode = nano_policy.processor.encode
    prompts = [encode("Which plane is this?", [random_image(56, 84)]), encode("Hi")]
    ids = torch.randint(0, 256, (5, 6), generator=torch.Generator().manual_seed(0))
    weights = torch.randn(5, 6, 64, generator=torch.Generator().manual_seed(1)).cuda()

    def outcome(dtype):
        policy = load_policy(
            nano_policy.path, dtype=dtype, device="cuda", gradient_checkpointing=checkpointing
        )
        hidden = completion_hidden(policy, prompts, [3, 2], ids)
        (hidden.float() * weights).sum().backward()
        gradients = [parameter.grad for parameter in policy.parameters()]
        return [hidden.detach(), *(g for g in gradients if g is not None)]

    exact = outcome("float32")
    ours = outcome("bfloat16")
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        masked = outcome("bfloat16")
    distances = [[relative(a, b) for a, b in zip(o, exact, strict=True)] for o in (ours, masked)]
    assert sum(distances[0]) < 1.2 * sum(distances[1])
    assert distances[0][0] < 1.5 * distances[1][0]
