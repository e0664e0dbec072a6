"""What a packed forward knows of its groups: masks made where they are used, worked by hand.

Shapes: M completion rows, P prompt tokens (of the longest), C completion tokens.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.shared.groups import PackedGroups


def groups(lengths, rows, completion_length, device="cpu"):
    return PackedGroups(
        prompt_lengths=lengths,
        rows_per_prompt=rows,
        completion_lengths=[completion_length] * sum(rows),
        device=torch.device(device),
        dtype=torch.float32,
        query_heads_per_key=2,
    )


def test_a_completion_token_sees_its_prompt_and_itself_and_what_is_before_it():
    # P = 2, C = 2, twice for the two query heads that share a key
    seen = [[1, 1, 1, 0], [1, 1, 1, 1]] * 2
    mask = groups([2, 2], [1, 2], 2).mask
    assert torch.equal(mask == 0, torch.tensor(seen).bool())
    assert set(mask.flatten().tolist()) == {0.0, -torch.inf}


def test_the_padding_behind_a_shorter_prompt_is_hidden_from_its_own_rows_only():
    # prompts of 1 and 3 tokens; rows 0 and 1 are the short one's; C = 1
    mask = groups([1, 3], [2, 1], 1).mask  # (M, 1, 2 C, P + C)
    seen = [[1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    assert mask.shape == (3, 1, 2, 4)
    for head in range(2):
        assert torch.equal(mask[:, 0, head] == 0, torch.tensor(seen).bool())


class LargestOnTheCPU(TorchDispatchMode):
    """Remembers how many elements the largest tensor made on the CPU has."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run the operation and look at its result."""
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type == "cpu":
            self.elements = max(self.elements, result.numel())
        return result


@pytest.mark.parametrize("lengths", [[40, 40], [30, 40]])
def test_the_mask_is_made_on_the_device_and_not_copied_there(lengths):
    with LargestOnTheCPU() as largest:
        made = groups(lengths, [2, 2], 100, device="meta")
    assert made.mask.device.type == "meta" and made.mask.shape[-2:] == (200, 140)
    assert largest.elements <= 2 * 40  # indices of the prompts' tokens; the mask has 28,000


def test_the_gradients_of_a_prompts_rows_add_up_in_float32():
    """One by one in bfloat16, as a GPU adds them, their sum would be rounded at each row."""
    groups = PackedGroups([1, 1], [6, 1], [1] * 7, torch.device("cpu"), torch.bfloat16, 1)
    prompts = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    repeated = groups.repeat_prompts(prompts)
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
