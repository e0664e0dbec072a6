"""Which keys a completion's token sees in front of its own: masks made where they are used.

That values and gradients are right is what tests/models/test_prefix.py shows, against transformers'
own model.

Shapes: M completion rows, P prompt tokens (of the longest), C completion tokens.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.shared.groups import PackedGroups
from models.shared.padded import CopyingReader


def reader(lengths, rows, completion_length, device="cpu"):
    groups = PackedGroups(
        prompt_lengths=lengths,
        rows_per_prompt=rows,
        completion_lengths=[completion_length] * sum(rows),
        device=torch.device(device),
        dtype=torch.float32,
    )
    return CopyingReader(groups, heads_per_key=2)


def test_a_completion_token_sees_its_prompt_and_itself_and_what_is_before_it():
    # P = 2, C = 2, twice for the two query heads that share a key
    seen = [[1, 1, 1, 0], [1, 1, 1, 1]] * 2
    mask = reader([2, 2], [1, 2], 2).mask
    assert torch.equal(mask == 0, torch.tensor(seen).bool())
    assert set(mask.flatten().tolist()) == {0.0, -torch.inf}


def test_the_padding_after_a_shorter_prompt_is_hidden_from_its_own_rows_only():
    # prompts of 1 and 3 tokens; rows 0 and 1 are the short one's; C = 1
    mask = reader([1, 3], [2, 1], 1).mask  # (M, 1, 2 C, P + C)
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
        made = reader(lengths, [2, 2], 100, device="meta")
    assert made.mask.device.type == "meta" and made.mask.shape[-2:] == (200, 140)
    assert largest.elements <= 2 * 40  # indices of the prompts' tokens; the mask has 28,000
