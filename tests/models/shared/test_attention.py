"""Each way to attend gives what one softmax over all that a token may read gives.

Shapes: T packed tokens, H query heads, Hkv key/value heads, d head size.
"""

import pytest
import torch

from models.shared import flash
from models.shared.attention import choose_reader
from models.shared.groups import PackedGroups
from models.shared.merged import MergingReader
from models.shared.padded import CopyingReader
from models.shared.varlen import VarlenReader
from tests.models.shared.varlen_cases import CASES, GRADIENTS, SCALE, gradients, relative, truth
from tests.models.shared.varlen_standin import SLOW

OF_ONE_SIZE = [name for name, case in CASES.items() if len(set(case.rows)) == 1]
WAYS = [("copying", name) for name in CASES] + [("merging", name) for name in OF_ONE_SIZE]
WAYS += [("varlen", name) for name in CASES]


def reader_of(way, case):
    groups = PackedGroups(
        case.prompts, case.rows, case.completions, torch.device("cpu"), torch.float64
    )
    heads_per_key = case.heads // case.key_heads
    return {
        "copying": lambda: CopyingReader(groups, heads_per_key),
        "merging": lambda: MergingReader(groups, heads_per_key),
        "varlen": lambda: VarlenReader(groups, SLOW),
    }[way]()


@pytest.mark.parametrize(("way", "name"), WAYS)
def test_read_and_gradients_equal_those_of_one_softmax(way, name):
    case = CASES[name]
    inputs = case.inputs(torch.float64)
    packed = [tensor.clone().requires_grad_() for tensor in inputs]
    read, _ = reader_of(way, case).read(*packed, SCALE)
    ours = [read.detach(), *gradients(read, packed)]
    for what, one, other in zip(("read", *GRADIENTS), ours, truth(case, inputs), strict=True):
        assert relative(one, other) < 2e-11, what


@pytest.mark.parametrize(("way", "name"), [way for way in WAYS if way[0] != "varlen"])
def test_completions_read_the_same_after_prompts_that_were_read_before(way, name):
    case = CASES[name]
    if not sum(case.completions):
        pytest.skip("there are none")
    reader, packed = reader_of(way, case), case.inputs(torch.float64)
    whole, prompts = reader.read(*packed, SCALE)
    own = [tensor[sum(case.prompts) :] for tensor in packed]
    alone = reader.read_completions(*own, prompts, SCALE)
    assert torch.equal(alone, whole[sum(case.prompts) :])


def test_every_way_gives_the_keys_and_values_of_prompts_alone():
    case = CASES["a prefill"]  # prompts of 5, 2 and 3 tokens
    packed = case.inputs(torch.float64)
    for way in ("copying", "varlen"):
        _, kept = reader_of(way, case).read(*packed, SCALE)
        for rectangle, row in zip(kept, packed[1:], strict=True):  # (N, Hkv, P, d), (T, Hkv, d)
            assert torch.equal(rectangle[0].transpose(0, 1), row[:5])
            assert torch.equal(rectangle[1, :, :2].transpose(0, 1), row[5:7])
            assert torch.equal(rectangle[2, :, :3].transpose(0, 1), row[7:])


@pytest.mark.parametrize(
    ("prompts", "rows", "completions", "way"),
    [
        ([20, 20], [3, 3], [5] * 6, MergingReader),
        ([20, 20], [3, 2], [5] * 5, CopyingReader),  # groups of different size
        ([20, 20], [1, 1], [0, 0], CopyingReader),  # prompts alone
    ],
)
def test_which_way_is_chosen(nano_policy, prompts, rows, completions, way, monkeypatch):
    groups = PackedGroups(prompts, rows, completions, torch.device("cpu"), torch.float32)
    assert type(choose_reader(nano_policy.text, groups)) is way
    monkeypatch.setattr(flash, "flash_for", lambda *_: SLOW)
    assert type(choose_reader(nano_policy.text, groups)) is VarlenReader
