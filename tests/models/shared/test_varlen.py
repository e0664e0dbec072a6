"""Attention of packed groups by varlen flash equals one softmax over all that a token may read.

Everything but the two flash calls is the product's; those are plain loops here
(tests/models/shared/varlen_standin.py). tests/models/shared/test_varlen_gpu.py runs the same on the
real ones.

Shapes: N prompts, M rows, T packed tokens, H query heads, Hkv key/value heads, d head size.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.shared import flash
from models.shared.flash import ATEN, Flash
from models.shared.groups import PackedGroups
from models.shared.varlen import PackedSegments, VarlenReader, varlen_attention
from tests.models.shared.varlen_cases import CASES, GRADIENTS, Case, relative, run, truth
from tests.models.shared.varlen_standin import SLOW, slow_backward, slow_forward

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@every_case
@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])  # flat, usual and one-sided softmaxes
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_read_and_gradients_equal_those_of_one_softmax(case, size, dtype, bar):
    inputs = case.inputs(dtype, size)
    ours, expected = run(SLOW, case, inputs), truth(case, inputs)
    assert ours[0].dtype == dtype
    for name, one, other in zip(("read", *GRADIENTS), ours, expected, strict=True):
        assert relative(one, other) < 20 * bar, name


def test_bfloat16_stays_bfloat16_and_near_the_truth():
    case = CASES["everything unequal"]
    inputs = case.inputs(torch.bfloat16)
    for one, other in zip(run(SLOW, case, inputs), truth(case, inputs), strict=True):
        assert one.dtype == torch.bfloat16
        assert relative(one, other) < 1e-2


def test_gradcheck():
    case = Case([2, 1], [2, 1], [2, 0, 1], heads=2, key_heads=1, size=2)

    def attention(*packed):
        return varlen_attention(*packed, case.segments(), SLOW, scale=0.3)

    inputs = [tensor.requires_grad_() for tensor in case.inputs(torch.float64)]
    assert torch.autograd.gradcheck(attention, inputs)


def test_each_part_s_own_lse_and_read_would_give_other_gradients():
    """Seen through the bars above: what a merge left to autograd computes."""
    case = CASES["everything unequal"]

    def alone(grad, query, key, value, _read, _lse, queries, keys, **how):
        own = slow_forward(query, key, value, queries, keys, **how)
        return slow_backward(grad, query, key, value, *own, queries, keys, **how)

    inputs = case.inputs(torch.float64)
    wrong, expected = run(Flash(slow_forward, alone), case, inputs), truth(case, inputs)
    assert relative(wrong[0], expected[0]) < 1e-12  # nothing to see in what is read
    assert all(
        relative(one, other) > 0.1 for one, other in zip(wrong[1:], expected[1:], strict=True)
    )


# The operators' side, as far as a CPU can tell


class Recorded(TorchDispatchMode):
    """Keeps the calls of the flash operators, and the size of the largest tensor made."""

    def __init__(self):
        super().__init__()
        self.calls, self.elements = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run the operation and look at its results."""
        if "flash_attention" in function.name():
            names = [argument.name for argument in function._schema.arguments]
            given = dict(zip(names, args, strict=False)) | (kwargs or {})
            self.calls.append((function.name(), given))
        result = function(*args, **(kwargs or {}))
        made = result if isinstance(result, tuple) else (result,)
        sizes = [tensor.numel() for tensor in made if isinstance(tensor, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return result


def test_the_operators_get_what_their_schemas_name():
    case = Case(prompts=[3, 5], rows=[2, 1], completions=[1, 0, 1])
    # bounds that tell where they came from, on the device where the operators only work out shapes
    segments = case.segments("meta")
    tensors = case.inputs(torch.bfloat16)
    query, key, value = (tensor.to("meta").requires_grad_() for tensor in tensors)
    with Recorded() as seen:
        varlen_attention(query, key, value, segments, ATEN, scale=0.3).sum().backward()

    prompts, groups, rows = segments.prompts, segments.groups, segments.rows
    expected = [(prompts, prompts, True), (groups, prompts, False), (rows, rows, True)]
    names = ["aten::_flash_attention_forward"] * 3 + ["aten::_flash_attention_backward"] * 3
    assert [name for name, _ in seen.calls] == names
    for (name, given), (queries, keys, causal) in zip(seen.calls, expected * 2, strict=True):
        assert given["cum_seq_q"] is queries.bounds and given["cum_seq_k"] is keys.bounds
        assert given["max_q"] == max(2, queries.longest) and given["max_k"] == keys.longest
        assert given["is_causal"] is causal and given["scale"] == 0.3 and given["dropout_p"] == 0
        tokens = [8 if one is prompts else 2 for one in (queries, keys)]
        assert [len(given[name]) for name in ("query", "key", "value")] == [*tokens, tokens[1]]
        if name.endswith("backward"):
            assert given["grad_out"].shape == given["out"].shape == given["query"].shape
            assert given["logsumexp"].shape == (case.heads, tokens[0])
            assert given["logsumexp"].is_contiguous()
        else:
            assert given["return_debug_mask"] is False
    gradients = query.grad, key.grad, value.grad
    assert [g.shape for g in gradients] == [t.shape for t in tensors]
    assert {g.dtype for g in gradients} == {torch.bfloat16}


def test_nothing_of_the_size_of_a_mask_or_of_copied_prompts_is_made():
    case = Case(prompts=[900, 1000], rows=[8, 8], completions=[100] * 16)
    with Recorded() as seen:
        groups = PackedGroups(
            prompt_lengths=case.prompts,
            rows_per_prompt=case.rows,
            completion_lengths=case.completions,
            device=torch.device("meta"),
            dtype=torch.bfloat16,
        )
        packed = [
            torch.empty(case.num_tokens, heads, case.size, device="meta", dtype=torch.bfloat16)
            for heads in (case.heads, case.key_heads, case.key_heads)
        ]
        packed = [tensor.requires_grad_() for tensor in packed]
        read, kept = VarlenReader(groups, ATEN).read(*packed, 0.3)
        read.sum().backward()
    assert len(seen.calls) == 6 and kept is None
    assert seen.elements == packed[0].numel()  # the mask has (16, 1, 2 * 100, 1100)
    unasked = {"padding", "own_padding", "prompt_padding_mask"}  # made when somebody asks
    assert not unasked & vars(groups).keys()


def test_segments_worked_by_hand():
    found = PackedSegments.of([3, 1, 2], [2, 1, 1], [4, 0, 5, 0], torch.device("cpu"))
    #   rows 0 and 1 are prompt 0's, row 2 is prompt 1's, row 3 is prompt 2's
    assert found.prompts.bounds.tolist() == [0, 3, 4, 6] and found.prompts.longest == 3
    assert found.groups.bounds.tolist() == [0, 4, 9, 9] and found.groups.longest == 5
    assert found.rows.bounds.tolist() == [0, 4, 4, 9, 9] and found.rows.longest == 5
    assert found.num_prompt_tokens == 6


@torch.no_grad()
def test_a_pass_over_prompts_gives_the_same_keys_and_values(nano_policy, monkeypatch):
    encode = nano_policy.processor.encode
    prompts = [encode("Which plane is this?"), encode("Hi")]
    ids = torch.tensor([5, 6, 7])

    def decoded():
        state, first = nano_policy.prefill(prompts, [2, 1], 2)
        return first, nano_policy.decode(state, ids)

    expected = decoded()
    calls = []

    def counted(*given, **how):
        calls.append(how["causal"])
        return slow_forward(*given, **how)

    monkeypatch.setattr(flash, "flash_for", lambda *_: Flash(counted, slow_backward))
    found = decoded()
    assert calls == [True] * len(nano_policy.text.layers)  # the prompts' own attention alone
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
