"""What a curriculum is told of a step; reading ahead, processes and resumptions change nothing."""

from types import SimpleNamespace

import pytest
import torch

from data.curriculum import Curriculum
from data.examples import VQAExample
from data.order import ExampleOrder
from grpo.curriculum import passed_shares, told_of_step
from grpo.prefetch import STEPS_AHEAD, BatchLoader
from tests.threads_as_ranks import as_ranks

SIZE, STEPS = 3, 12
NAMES = ("accuracy", "format")


def curriculum(state=None) -> Curriculum:
    rows = [VQAExample(f"CT-{n}", (), "Which?", ("CT", "MRI"), "B") for n in range(10)]
    order = ExampleOrder(rows, 7, False)
    return Curriculum.of(order, SIZE, STEPS_AHEAD, state or {"step": 0})


def rewards_of(examples) -> torch.Tensor:
    """(N, G, R) of four completions each: as many are right as the row's number says."""
    right = torch.tensor([[int(e.id[3:]) % 5 > g for g in range(4)] for e in examples])
    return torch.stack([right, torch.ones_like(right)], dim=2).double()


def run(steps: range, curriculum_: Curriculum, unreadable=()) -> list[tuple[str, ...]]:
    """Take steps through the loader that training has; return which examples each showed."""

    def encode(example):
        if example.id in unreadable:
            raise ValueError(f"{example.id} cannot be read")
        return SimpleNamespace(num_tokens=1)

    shown = []
    size = (curriculum_.__getitem__, curriculum_.replacement, encode, SIZE)
    with BatchLoader(*size, steps) as batches:
        for step in steps:
            batch = batches.batch(step)
            rewards = rewards_of(batch.examples)
            told_of_step(curriculum_, batch, rewards, NAMES, (1.0, 1.0))
            shown.append(tuple(example.id for example in batch.examples))
    return shown


def test_the_share_that_passed_by_hand():
    # G = 4, R = 2: right; wrong, well formed; right, badly formed; nothing
    rewards = torch.tensor([[[1, 1], [0, 1], [1, 0], [0, 0]], [[1, 1]] * 4, [[0, 1]] * 4]).float()
    assert passed_shares(rewards, NAMES, (1.0, 1.0)) == [0.5, 1.0, 0.0]
    assert passed_shares(rewards, NAMES, (0.0, 1.0)) == [0.5, 1.0, 0.0]  # whatever it weighs
    swapped = rewards.flip(2)
    assert passed_shares(swapped, NAMES[::-1], (1.0, 1.0)) == [0.5, 1.0, 0.0]  # wherever it stands


def test_an_accuracy_that_is_not_full_is_no_pass():
    assert passed_shares(torch.tensor([[[0.99], [1.0], [1.5]]]), ("accuracy",), (1.0,)) == [2 / 3]


@pytest.mark.parametrize(
    ("weights", "share"),
    [
        # totals of (1, 1), (0, 1), (1, 0), (0, 0)
        ((1.0, 1.0), 1 / 4),  # 2 1 1 0, above 1
        ((3.0, 1.0), 2 / 4),  # 4 1 3 0, above 2
        ((1.0, -1.0), 1 / 4),  # 0 -1 1 0, above the middle of -1 .. 1
    ],
)
def test_without_accuracy_a_total_above_the_middle_of_its_range_passes(weights, share):
    rewards = torch.tensor([[[1.0, 1], [0, 1], [1, 0], [0, 0]]])
    assert passed_shares(rewards, ("own", "format"), weights) == [share]


def test_the_loader_that_reads_ahead_shows_what_reading_in_turn_does():
    one, found = curriculum(), []
    for step in range(STEPS):
        examples = [one[position] for position in range(step * SIZE, (step + 1) * SIZE)]
        found.append(tuple(example.id for example in examples))
        shares = passed_shares(rewards_of(examples), NAMES, (1.0, 1.0))
        one.observe(step, found[-1], shares)
    other = curriculum()
    assert run(range(STEPS), other) == found
    assert one.state(STEPS) == other.state(STEPS)


@pytest.mark.parametrize("unreadable", [(), ("CT-3", "CT-8")])
@pytest.mark.parametrize("stop", [1, 5, 11])
def test_a_run_that_goes_on_reads_what_one_that_was_never_stopped_does(stop, unreadable):
    whole, first = curriculum(), curriculum()
    expected = run(range(STEPS), whole, unreadable)
    assert run(range(stop), first, unreadable) == expected[:stop]
    second = curriculum(first.state(stop) | {"step": stop})
    assert run(range(stop, STEPS), second, unreadable) == expected[stop:]
    assert second.state(STEPS) == whole.state(STEPS)


@pytest.mark.parametrize("size", [2, 3, 4])  # with 4 one of them has no example of its own
def test_several_processes_show_and_keep_what_one_does(size):
    def work(_rank):
        one = curriculum()
        return run(range(STEPS), one, ("CT-3",)), one.state(STEPS)

    alone = work(0)
    assert as_ranks(size, work) == [alone] * size
