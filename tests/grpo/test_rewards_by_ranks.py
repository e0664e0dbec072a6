"""Rewards of several processes: each scores its own completions, and all have what one would."""

# ruff: noqa: ARG001 - a reward is known by its parameters, whether it uses them or not

import asyncio
import re
from contextlib import ExitStack

import pytest
import torch

from data.examples import VQAExample
from grpo.everybodys import everybodys
from grpo.grounding import GroundingTerm
from grpo.rollout import PromptBatch, Rollout
from grpo.sampling import Completions, no_completions
from grpo.step import score_completions
from process.ranks import world
from rewards import load_rewards
from rewards.calls import Calls
from tests.threads_as_ranks import as_ranks

pytestmark = pytest.mark.model

GROUP = 2
EXAMPLES = (
    VQAExample("a-0", (), "Which?", ("CT", "MRI"), "B"),
    VQAExample("b-0", (), "Is it?", ("Yes", "No"), "A", form="yes_no"),
    VQAExample("c-0", (), "What?", (), "left lung", form="text"),
    VQAExample("d-0", (), "How many?", (), "3", form="number"),
    VQAExample("e-0", (), "Which ones?", (), "line, disc", form="labels"),
)
ANSWERS = ["B", "A", "yes", "no", "The left lungs", "lung", "three", "4", "disc, line", "disc"]
RIGHT = [[1.0, 0.0]] * 5


def scored(policy, own: dict, seen: dict | None = None) -> torch.Tensor:
    """Return the (5, GROUP, R) rewards of all processes, as a step has them."""
    mine = world().place.share(len(EXAMPLES))
    encoded = tuple(policy.processor.encode(EXAMPLES[index].question, []) for index in mine)
    batch = PromptBatch(encoded, EXAMPLES, tuple(range(5)), 0, first=mine.start)
    made = no_completions()
    if len(mine):
        texts = [f"<answer>{text}</answer>" for text in ANSWERS]
        rows = GROUP * len(mine)
        made = Completions(
            ids=torch.full((rows, 1), 7),
            mask=torch.ones(rows, 1, dtype=torch.bool),
            logprobs=torch.zeros(rows, 1),
            entropies=torch.zeros(rows, 1),
            truncated=torch.zeros(rows, dtype=torch.bool),
            texts=texts[GROUP * mine.start : GROUP * mine.stop],
        )
    rollout = Rollout(batch.of_own(), made, GROUP)
    with ExitStack() as stack:
        calls = stack.enter_context(Calls())
        rewards = load_rewards(["accuracy", *own], "no_think", own=own, calls=calls)
        with world().together("rewards"):
            values = score_completions(rewards, rollout)
    term = GroundingTerm(torch.zeros(values.shape[:2]), torch.ones(len(mine), 1), measured={})
    return everybodys(policy, batch, (rollout, values, term))[1]


async def length(completion, example, mode):
    await asyncio.sleep(0.001 * (len(completion) % 3))  # the later ones come first
    return len(completion)


async def place(completions, examples, mode):
    """Its own place among the completions of one process."""
    await asyncio.sleep(0)
    return list(range(len(completions)))


def known(completions, examples, mode):
    return torch.tensor([float(EXAMPLES.index(example)) for example in examples])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])  # of seven two have nothing to score
def test_every_process_has_the_rewards_of_all_in_their_order(nano_policy, size):
    own = {"length": length, "known": known}
    for values in as_ranks(size, lambda _: scored(nano_policy, own)):
        assert values[..., 0].tolist() == RIGHT
        lengths = [len(f"<answer>{text}</answer>") for text in ANSWERS]
        assert values[..., 1].flatten().tolist() == lengths
        assert values[..., 2].tolist() == [[float(i)] * GROUP for i in range(5)]


def test_a_function_of_all_completions_is_given_those_of_its_own_process(nano_policy):
    places = {
        1: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        2: [0, 1, 2, 3, 4, 5, 0, 1, 2, 3],
        3: [0, 1, 2, 3, 0, 1, 2, 3, 0, 1],
    }
    for size, expected in places.items():
        for values in as_ranks(size, lambda _: scored(nano_policy, {"place": place})):
            assert values[..., 1].flatten().tolist() == expected


def of_all(completions, examples, mode):
    if any(example.id == "d-0" for example in examples):
        raise KeyError("no such organ")
    return [0] * len(completions)


async def of_all_later(completions, examples, mode):
    await asyncio.sleep(0)
    return of_all(completions, examples, mode)


async def of_one(completion, example, mode):
    if example.id == "d-0":
        raise KeyError("no such organ")
    await asyncio.sleep(3600 * (example.id == "c-0"))  # of the same process: ended with it
    return 0


def too_few(completions, examples, mode):
    return [0] * min(len(completions), 4)


@pytest.mark.parametrize("function", [of_all, of_all_later, of_one])
def test_one_that_fails_in_one_process_ends_all_with_its_words(nano_policy, function):
    errors = as_ranks(3, lambda _: scored(nano_policy, {"mine": function}))
    for rank, error in enumerate(errors):
        assert isinstance(error, ValueError), error
        told = str(error)
        assert re.match(
            r"(rank 1: )?reward 'mine' fails on (4 compl.*'d-0'\]|example 'd-0') \(", told
        )
        assert "KeyError" in told and "no such organ" in told
        assert told.startswith("rank 1: ") is (rank != 1), told


def test_too_few_values_in_one_process_are_named_in_all(nano_policy):
    errors = as_ranks(2, lambda _: scored(nano_policy, {"mine": too_few}))
    for error in errors:
        assert "returned 4 values for 6 completions of examples ['a-0', 'b-0', 'c-0']" in str(error)
