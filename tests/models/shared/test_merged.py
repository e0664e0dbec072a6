"""Prompt and own tokens read apart and merged equal attention over copies, its gradient included.

Shapes: N prompts, G completions each, M = N * G rows, C completion tokens, P prompt tokens, Hkv
key/value heads, r query heads per key head, d head size.
"""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from models.shared.groups import PackedGroups
from models.shared.merged import MergedAttention, MergingReader

N, G, HKV, R, P, C, D, SCALE = 2, 3, 2, 2, 9, 4, 8, 0.3


def inputs(dtype=torch.float64, size=1.0):
    generator = torch.Generator().manual_seed(0)
    shapes = [(N * G, HKV, R * C, D)] + [(N, HKV, P, D)] * 2 + [(N * G, HKV, C, D)] * 2
    made = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    made[0] *= size
    return [tensor.to(dtype).requires_grad_() for tensor in made]


def masks(lengths, dtype=torch.float64):
    groups = PackedGroups(
        prompt_lengths=list(lengths),
        rows_per_prompt=[G] * N,
        completion_lengths=[C] * (N * G),
        device=torch.device("cpu"),
        dtype=dtype,
    )
    return groups.prompt_padding_mask, MergingReader(groups, heads_per_key=R).own_mask


def test_the_own_part_is_causal_for_each_of_the_heads_that_share_a_key():
    _, own_mask = masks((P, P))
    seen = torch.ones(C, C).tril().repeat(R, 1)
    assert torch.equal(own_mask == 0, seen.bool())
    assert set(own_mask.flatten().tolist()) == {0.0, -torch.inf}


def over_copies(query, key_prompt, value_prompt, key_own, value_own, prompt_mask, own_mask):
    """The textbook way: every row has its own copy of the prompt, one softmax, autograd."""
    keys = torch.cat([key_prompt.repeat_interleave(G, dim=0), key_own], dim=2)
    values = torch.cat([value_prompt.repeat_interleave(G, dim=0), value_own], dim=2)
    mask = own_mask.new_zeros(N * G, 1, R * C, P + C)
    mask[..., P:] = own_mask
    if prompt_mask is not None:
        mask[..., :P] = prompt_mask.repeat_interleave(G, dim=0)
    return scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=SCALE)


@pytest.mark.parametrize("lengths", [(P, P), (P, 3)])
@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])  # flat, usual and one-sided softmaxes
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_read_and_gradients_equal_those_over_copies(lengths, size, dtype, bar):
    tensors, (prompt_mask, own_mask) = inputs(dtype, size), masks(lengths, dtype)
    read = MergedAttention.apply(*tensors, prompt_mask, own_mask, SCALE)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    double_mask = None if prompt_mask is None else prompt_mask.double()
    truth = over_copies(*exact, double_mask, own_mask.double())
    assert read.dtype == dtype
    assert (read - truth).norm() / truth.norm() < bar
    weights = torch.randn(read.shape, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad((read * weights).sum(), tensors)
    expected = torch.autograd.grad((truth * weights).sum(), exact)
    for one, other in zip(ours, expected, strict=True):
        assert (one - other).norm() / other.norm() < 20 * bar


def test_gradcheck():
    prompt_mask, own_mask = masks((P, 3))

    def merged(*tensors):
        return MergedAttention.apply(*tensors, prompt_mask, own_mask, SCALE)

    assert torch.autograd.gradcheck(merged, inputs())


def test_bfloat16_stays_bfloat16_and_near_the_truth():
    tensors, (prompt_mask, own_mask) = inputs(torch.bfloat16), masks((P, 3), torch.bfloat16)
    read = MergedAttention.apply(*tensors, prompt_mask, own_mask, SCALE)
    truth = over_copies(*(t.double() for t in tensors), prompt_mask.double(), own_mask.double())
    assert read.dtype == torch.bfloat16
    assert (read - truth).norm() / truth.norm() < 1e-2
    gradients = torch.autograd.grad(read.sum(), tensors)
    assert all(gradient.dtype == torch.bfloat16 for gradient in gradients)


@pytest.mark.parametrize(
    ("lengths", "rows", "completions", "faster"),
    [
        ([20, 20], [3, 3], [5] * 6, True),
        ([20, 4], [3, 3], [5, 1, 2, 3, 5, 5], True),
        ([20, 20], [3, 2], [5] * 5, False),  # groups of different size
        ([20, 20], [1, 1], [5] * 2, False),  # nobody to share with
        ([19, 19], [3, 3], [5] * 6, False),  # short prompts: copies are faster
        ([20, 20], [3, 3], [0] * 6, False),  # a prefill
    ],
)
def test_which_groups_are_read_without_copies(lengths, rows, completions, faster):
    groups = PackedGroups(
        prompt_lengths=lengths,
        rows_per_prompt=rows,
        completion_lengths=completions,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    assert MergingReader.is_faster(groups) is faster
