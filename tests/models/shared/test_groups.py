"""Where the tokens of a packed row lie, worked by hand.

Shapes: N prompts, M completion rows, T packed tokens, T_c of completions.
"""

from dataclasses import FrozenInstanceError

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.shared.groups import PackedGroups


def groups(prompts, rows, completions, dtype=torch.float32):
    return PackedGroups(prompts, rows, completions, torch.device("cpu"), dtype)


# [ a a a | b | a1 a1 | a2 | b1 ]: prompts of 3 and 1 tokens with rows of 2 and 1 and of 1
TWO = groups([3, 1], [2, 1], [2, 1, 1])
PACKED = torch.tensor([10, 11, 12, 20, 110, 111, 120, 210])  # (T,)


def test_a_layout_does_not_change():
    with pytest.raises(FrozenInstanceError):
        TWO.prompt_lengths = [1, 1]


def test_rows_know_their_prompts_and_prompts_their_last_tokens():
    assert TWO.row_to_prompt.tolist() == [0, 0, 1]
    assert PACKED[TWO.last_tokens].tolist() == [12, 20]
    prompts, completions = TWO.split(PACKED)
    assert prompts.tolist() == [10, 11, 12, 20] and completions.tolist() == [110, 111, 120, 210]
    assert TWO.keep_read(PACKED).tolist() == [12, 20, 110, 111, 120, 210]


def test_padding_repeats_a_token_of_the_prompt_and_is_zero_after_a_completion():
    prompts, completions = TWO.split(PACKED)
    padded = TWO.pad_prompts(prompts)
    assert padded.tolist() == [[10, 11, 12], [20, 20, 20]]
    assert torch.equal(TWO.pack_prompts(padded), prompts)
    padded = TWO.pad_completions(completions)
    assert padded.tolist() == [[110, 111], [120, 0], [210, 0]]
    assert torch.equal(TWO.pack_completions(padded), completions)
    hidden = TWO.prompt_padding_mask
    assert hidden.shape == (2, 1, 1, 3)
    assert hidden[:, 0, 0].tolist() == [[0, 0, 0], [0, -torch.inf, -torch.inf]]


def test_equal_lengths_need_no_padding():
    equal = groups([2, 2], [1, 2], [1, 1, 1])
    assert equal.padding is equal.own_padding is equal.prompt_padding_mask is None
    assert equal.pad_prompts(torch.arange(4)).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("rows", "completions", "expected"),
    [
        ([2, 1], [2, 1, 1], [12, 110, 111, 12, 120, 20, 210]),
        ([2, 1], [2, 0, 1], [12, 110, 111, 12, 20, 210]),
        ([1, 1], [2, 2], [12, 110, 111, 20, 210, 211]),
        ([2, 1], [0, 0, 0], [12, 12, 20]),
    ],
)
def test_each_token_is_predicted_by_the_one_before_it(rows, completions, expected):
    names = [110, 120, 210] if rows == [2, 1] else [110, 210]  # of each row's first fed token
    fed = [name + i for name, n in zip(names, completions, strict=True) for i in range(n)]
    ends, fed = torch.tensor([[12], [20]]), torch.tensor(fed, dtype=torch.int64)[:, None]
    found = groups([3, 1], rows, completions).predicting(ends, fed)  # (S, 1)
    assert found[:, 0].tolist() == expected


def test_the_gradients_of_a_prompts_rows_add_up_in_float32():
    """One by one in bfloat16, as a GPU adds them, their sum would be rounded at each row."""
    unequal = groups([1, 1], [6, 1], [1] * 7, torch.bfloat16)
    prompts = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    repeated = unequal.repeat_prompts(prompts)
    assert repeated.dtype == torch.bfloat16
    with SumsOverIndices() as sums:
        repeated.sum().backward()
    assert prompts.grad.tolist() == [[6.0] * 3, [1.0] * 3]
    assert sums.dtypes == [torch.float32]


class SumsOverIndices(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.dtypes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "index_add" in function._schema.name:
            self.dtypes.append(args[0].dtype)
        return function(*args, **(kwargs or {}))
