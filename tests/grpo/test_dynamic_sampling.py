"""Dynamic sampling: which groups go, what takes their places, and that all else is a plain step."""

from dataclasses import dataclass, replace

import pytest
import torch

from grpo.clock import STEP_PARTS, StepClock
from grpo.dynamic_sampling import Draws, agreeing, put_in
from grpo.everybodys import everybodys
from grpo.grounding import GroundingTerm
from grpo.methods import grpo_method
from grpo.prefetch import BatchLoader
from grpo.rollout import PromptBatch, Rollout
from grpo.sampling import Completions, no_completions
from grpo.step import train_step
from process.ranks import world
from rewards.bound import each
from tests.grpo.test_step import CONFIG, Recorder, assert_equal_gradients
from tests.models.nano import random_image
from tests.threads_as_ranks import as_ranks

pytestmark = pytest.mark.model
# one family is enough: nothing here knows what a model is made of
one_family = pytest.mark.parametrize("nano_policy", ["qwen2_vl"], indirect=True)

ON = replace(CONFIG, dynamic_sampling=2, beta=0.0, rewards=("codes",), reward_weights=(2.0,))
GROUP = 4


@dataclass(frozen=True)
class Question:
    """Row number ``position``; of one that is flat all completions earn the same."""

    position: int
    flat: float | None = None
    options: tuple[str, ...] = ("x", "y")
    form: str = "letter"

    @property
    def id(self) -> str:
        return f"q{self.position}"


def codes(text: str, example: Question) -> float:
    """Return what hardly two texts have in common, so that no group agrees by chance."""
    return sum(map(ord, text)) / 1000 if example.flat is None else example.flat


REWARDS = {"codes": each(codes)}


class Gradient(Recorder):
    """An optimizer that keeps a gradient of zeros where no row was run."""

    def step(self, max_grad_norm: float) -> float:
        for weight in self.weights.values():
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        return super().step(max_grad_norm)


class Data:
    """The run's order: rows with these numbers are flat, and each is told when it is taken."""

    def __init__(self, policy, flat: set[int]) -> None:
        self.policy, self.flat = policy, flat
        self.encoded: list[int] = []

    def question(self, position: int) -> Question:
        return Question(position, flat=float(position % 2) if position in self.flat else None)

    def encode(self, question: Question):
        self.encoded.append(question.position)
        images = [random_image(56, 56, seed=question.position)] * (question.position % 2)
        return self.policy.processor.encode(f"What is {question.id}?", images)

    def loader(self, steps: range, state: dict | None = None) -> BatchLoader:
        return BatchLoader(self.question, None, self.encode, 3, steps, state)

    def batch(self, positions: tuple[int, ...]) -> PromptBatch:
        """Return a plain batch of the first step, which knows of no other questions."""
        questions = tuple(map(self.question, positions))
        return PromptBatch(tuple(map(self.encode, questions)), questions, positions, 0)


def stepped(policy, batch, config, grounding=None):
    optimizer, clock = Gradient(policy, config), StepClock(policy.device)
    given = (policy, None, optimizer, batch, REWARDS, config, clock, grounding)
    return train_step(*given), optimizer.gradients[0]


def drawn(policy, flat: set[int], config=ON, grounding=None):
    """Return the first step's result and gradient, and where the data order stands afterwards."""
    with Data(policy, flat).loader(range(1)) as batches:
        result, gradient = stepped(policy, batches.batch(0), config, grounding)
        return result, gradient, batches.state(1)


# flat rows; the questions of the three places in the end; refills, short, next position
CASES = {
    "none agrees": (set(), (0, 1, 2), 0, 0, 3),
    "one, replaced at once": ({1}, (0, 3, 2), 1, 0, 4),
    "two, one of them twice": ({0, 2, 4}, (3, 1, 5), 2, 0, 6),
    "all, and the budget is spent": ({0, 1, 2, 3, 5, 6}, (6, 4, 7), 2, 1, 8),
    "every row agrees": (set(range(99)), (6, 7, 8), 2, 3, 9),
}


@one_family
@pytest.mark.parametrize("case", CASES)
def test_groups_that_agree_make_room_for_the_next_questions(nano_policy, case):
    flat, positions, refills, short, behind = CASES[case]
    result, gradient, state = drawn(nano_policy, flat)
    assert result.rollout.batch.positions == positions
    assert [example.position for example in result.rollout.batch.examples] == list(positions)
    metrics = result.metrics
    assert metrics["dynamic/refills"] == refills and metrics["dynamic/short"] == short
    assert metrics["dynamic/drawn_groups"] == behind
    assert metrics["dynamic/discarded_groups"] == behind - 3
    assert metrics["zero_std_groups"] == pytest.approx(short / 3)
    assert state == ({} if behind == 3 else {"data_position": behind})
    # all else is a plain step on the questions that are left: completions, advantages, gradient
    plain, same = stepped(
        nano_policy, Data(nano_policy, flat).batch(positions), replace(ON, dynamic_sampling=0)
    )
    assert plain.rollout.texts == result.rollout.texts
    assert torch.equal(plain.rollout.completions.ids, result.rollout.completions.ids)
    assert torch.equal(plain.rollout.completion_mask, result.rollout.completion_mask)
    assert torch.equal(plain.advantages, result.advantages)
    assert_equal_gradients(gradient, same)
    assert {*result.metrics} - {*plain.metrics} == {
        name for name in metrics if name.startswith("dynamic/")
    }


@one_family
def test_what_is_thrown_away_is_counted_and_its_rewards_are_in_the_mean_of_all(nano_policy):
    result, _, _ = drawn(nano_policy, {1, 2, 4})
    data = Data(nano_policy, {1, 2, 4})  # of which the first earns 1, times its weight
    thrown, _ = stepped(nano_policy, data.batch((1, 2, 4)), replace(ON, dynamic_sampling=0))
    tokens = int(thrown.rollout.completion_mask.sum())
    assert result.metrics["dynamic/discarded_tokens"] == tokens == result.draws.num_tokens
    assert result.draws.num_completions == 12
    all_rewards = torch.cat([result.rewards, thrown.rewards])  # weighted by 2
    assert result.metrics["dynamic/reward"] == pytest.approx(all_rewards.mean().item())
    assert result.metrics["reward"] == pytest.approx(result.rewards.mean().item())


@one_family
def test_rates_count_every_completion_that_was_sampled(nano_policy):
    def parse(*_):
        return type("Parsed", (), {"choice": None, "well_formed": True})

    parse.forget = lambda: None
    with Data(nano_policy, {0, 2, 4}).loader(range(1)) as batches:
        parts = (ON, nano_policy, None, Gradient(nano_policy, ON), REWARDS, parse, None)
        take_step = grpo_method(*parts, total_steps=1)
        first = batches.batch(0)
        taken = take_step(first, StepClock(nano_policy.device))
    assert taken.samples == 6 * GROUP and len(taken.sampled.choices) == 3 * GROUP
    kept = int(taken.sampled.result.rollout.completion_mask.sum())
    assert taken.tokens == kept + taken.metrics["dynamic/discarded_tokens"]
    assert taken.about(first).positions == (3, 1, 5)


@one_family
def test_without_the_flag_nothing_is_drawn_again_and_nothing_said_of_it(nano_policy):
    result, _, state = drawn(nano_policy, {0, 1}, replace(ON, dynamic_sampling=0))
    assert result.rollout.batch.positions == (0, 1, 2) and state == {}
    assert not any(name.startswith("dynamic/") for name in result.metrics)
    assert result.metrics["zero_std_groups"] == pytest.approx(2 / 3)


@one_family
def test_a_group_is_judged_after_penalties_and_the_grounding_term(nano_policy):
    def penalised(_policy, rollout):
        """Rewards of flat rows differ by what their letters cost; a sure answer teaches nothing."""
        groups = rollout.batch.examples
        costs = [[0.5 * (row == 0) * (one.flat is not None) for row in range(GROUP)]
                 for one in groups]  # fmt: skip
        scales = [[float(one.position != 2)] for one in groups]
        return GroundingTerm(
            torch.tensor(costs, dtype=torch.float64),
            torch.tensor(scales, dtype=torch.float64),
            {"grounding/place": [float(one.position) for one in groups],
             "grounding/row": [float(row) for one in groups for row in range(GROUP)]},
        )  # fmt: skip

    result, _, _ = drawn(nano_policy, {0}, grounding=penalised)
    assert result.rollout.batch.positions == (0, 1, 3)
    assert result.metrics["grounding/place"] == pytest.approx(4 / 3)  # of 0, 1 and 3
    assert result.metrics["grounding/row"] == pytest.approx(1.5)
    too_long = replace(ON, soft_overlong_tokens=10, dynamic_sampling=1)
    result, _, _ = drawn(nano_policy, {0, 1}, too_long)
    lengths = result.rollout.completion_mask.sum(dim=1).view(3, GROUP)
    differ = [len(set(row)) > 1 for row in lengths.tolist()]
    assert differ[0] and result.rollout.batch.positions[0] == 0


@one_family
def test_the_next_step_goes_on_behind_and_a_resumed_run_draws_what_the_whole_one_did(nano_policy):
    flat, steps, states = {1, 4, 5, 9}, [], []
    with Data(nano_policy, flat).loader(range(3)) as batches:
        for step in range(3):
            result, _ = stepped(nano_policy, batches.batch(step), ON)
            steps.append((result.rollout.batch.positions, result.rollout.texts))
            states.append(batches.state(step + 1))
    assert [positions for positions, _ in steps] == [(0, 3, 2), (7, 8, 6), (12, 10, 11)]
    assert states == [{"data_position": behind} for behind in (4, 9, 13)]
    with Data(nano_policy, flat).loader(range(1, 3), states[0]) as batches:
        for step in (1, 2):
            result, _ = stepped(nano_policy, batches.batch(step), ON)
            assert (result.rollout.batch.positions, result.rollout.texts) == steps[step]


@one_family
def test_waiting_for_fresh_questions_is_counted_as_data(nano_policy):
    parts: list[str] = []
    with Data(nano_policy, {1}).loader(range(1)) as batches:
        clock = StepClock(nano_policy.device, on_part=parts.append)
        given = (nano_policy, None, Gradient(nano_policy, ON), batches.batch(0), REWARDS, ON, clock)
        clock.lap("data")
        train_step(*given)
    assert parts[:6] == ["data", "rollout", "reward", "data", "rollout", "reward"]
    assert {*parts} <= {*STEP_PARTS}


def made(lengths: list[int], id_: int) -> Completions:
    lengths = torch.tensor(lengths)
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    return Completions(
        ids=torch.full(mask.shape, id_).where(mask, 0), mask=mask, logprobs=-float(id_) * mask,
        entropies=float(id_) * mask, truncated=lengths == 5,
        texts=[f"{id_} {row}" for row in range(len(lengths))],
    )  # fmt: skip


def scored_of(positions: tuple[int, ...], lengths: list[int], id_: int):
    batch = PromptBatch(tuple(f"p{one}" for one in positions), positions, positions, 0)
    count = len(positions)
    term = GroundingTerm(
        torch.full((count, 2), float(id_)), torch.full((count, 1), float(id_)),
        {"grounding/rows": [float(id_)] * (2 * count)},
    )  # fmt: skip
    rewards = torch.full((count, 2, 1), float(id_))
    return Rollout(batch, made(lengths, id_), 2), rewards, term


def test_rows_are_put_in_and_padded_by_hand():
    # the longest row of all, of 5 tokens, is thrown away; what comes in its place has 3
    whole = scored_of((0, 1), [1, 2, 5, 4], 7)
    rollout, rewards, term = put_in(whole, [1], scored_of((2,), [3, 1], 8), pad_id=-1)
    assert rollout.completions.ids.tolist() == [[7, -1, -1], [7, 7, -1], [8, 8, 8], [8, -1, -1]]
    assert rollout.completions.mask.sum(dim=1).tolist() == [1, 2, 3, 1]
    assert rollout.completions.entropies.sum(dim=1).tolist() == [7, 14, 24, 8]
    assert rollout.completions.logprobs.sum(dim=1).tolist() == [-7, -14, -24, -8]
    assert rollout.completions.truncated.tolist() == [False] * 4
    assert rollout.texts == [["7 0", "7 1"], ["8 0", "8 1"]]
    batch = rollout.batch
    assert (batch.prompts, batch.examples, batch.positions) == (("p0", "p2"), (0, 2), (0, 2))
    assert rewards.flatten().tolist() == [7, 7, 8, 8] == term.penalties.flatten().tolist()
    assert term.scales.flatten().tolist() == [7, 8]
    assert term.measured == {"grounding/rows": [7, 7, 8, 8]}
    # and the other way round: what comes is longer than all
    longer, *_ = put_in(scored_of((0,), [1, 2], 7), [0], scored_of((1,), [5, 1], 8), pad_id=-1)
    assert longer.completions.mask.shape == (2, 5) and longer.completions.truncated[0]
    # or shorter than what stays
    stays, *_ = put_in(whole, [0], scored_of((2,), [3, 1], 8), pad_id=-1)
    assert stays.completions.ids.tolist()[1:3] == [[8, -1, -1, -1, -1], [7] * 5]
    assert whole[0].completions.ids.tolist()[2] == [7] * 5, "what was there is not written into"


def test_several_groups_are_put_in_each_with_all_that_is_its_own():
    whole, (others, rewards, term) = scored_of((0, 1, 2), [1] * 6, 7), scored_of((3, 4), [2] * 4, 8)
    whole = replace(whole[0], batch=replace(whole[0].batch, redrawn=("a",))), *whole[1:]
    others = replace(others, batch=replace(others.batch, redrawn=("b", "c")))
    term = replace(term, measured={"grounding/rows": [1.0, 2.0, 3.0, 4.0]})
    rollout, _, term = put_in(whole, [0, 2], (others, rewards, term), pad_id=-1)
    assert rollout.texts == [["8 0", "8 1"], ["7 2", "7 3"], ["8 2", "8 3"]]
    assert term.measured == {"grounding/rows": [1, 2, 7, 7, 3, 4]}
    batch = rollout.batch
    assert (batch.prompts, batch.positions) == (("p3", "p1", "p4"), (3, 1, 4))
    assert batch.redrawn == ("a", "b", "c")
    # one alone leaves all behind it where they are
    _, _, term = put_in(whole, [0], scored_of((3,), [2] * 2, 8), pad_id=-1)
    assert term.measured == {"grounding/rows": [8, 8, 7, 7, 7, 7]}


def test_what_could_be_sampled_goes_with_its_row():
    def with_kept(scored, id_):
        completions = scored[0].completions
        kept = torch.full((*completions.ids.shape, 2), id_, dtype=torch.int32)
        return replace(scored[0], completions=replace(completions, kept=kept)), *scored[1:]

    whole = with_kept(scored_of((0, 1), [1, 2, 5, 4], 7), 7)
    rollout, *_ = put_in(whole, [1], with_kept(scored_of((2,), [3, 1], 8), 8), pad_id=-1)
    kept = rollout.completions.kept
    assert kept.shape == (4, 3, 2) and kept[:2].unique().tolist() == [7]
    assert kept[2:].unique().tolist() == [8]


def test_the_budget_is_of_refills_and_an_advantage_that_is_not_finite_is_no_agreement():
    advantages = torch.tensor([[0.0, 0.0], [1.0, -1.0], [float("nan"), 0.0]])
    assert agreeing(advantages) == [0]
    assert Draws(1).places_to_fill(advantages) == [0]
    assert Draws(1, refills=1).places_to_fill(advantages) == []
    assert Draws(0).places_to_fill(advantages) == []


def filled_by_ranks(policy, flat: set[int], steps: int = 3):
    """Return what each of some steps ends with, sampling made up by position alone."""

    def sample(batch: PromptBatch):
        own = batch.of_own()
        rewards = torch.tensor([[[0.0], [float(one not in flat)]] for one in own.positions])
        rewards = rewards.view(len(own.positions), 2, 1)
        term = GroundingTerm(
            torch.zeros(rewards.shape[:2]), torch.ones(len(rewards), 1), measured={}
        )
        completions = no_completions()
        if own.positions:
            lengths = [1 + (one + row) % 4 for one in own.positions for row in range(2)]
            texts = [f"{one} {row}" for one in own.positions for row in range(2)]
            completions = replace(made(lengths, 9), texts=texts)
        return everybodys(policy, batch, (Rollout(own, completions, 2), rewards, term))

    encoded: list[str] = []

    def encode(example: str):
        encoded.append(example)
        return example

    found = []
    with BatchLoader("row {}".format, None, encode, 5, range(steps)) as batches:
        for step in range(steps):
            draws, scored = Draws(2, pad_id=0), sample(batches.batch(step))
            while places := draws.places_to_fill(
                scored[1][..., 0] - scored[1][..., 0].mean(1, True)
            ):
                scored = draws.filled(scored, places, sample, StepClock(torch.device("cpu")))
            rollout = scored[0]
            own = rollout.batch.own
            assert own == world().place.share(5)
            assert list(rollout.batch.prompts) == [rollout.batch.examples[index] for index in own]
            found.append(
                (rollout.batch.positions, rollout.batch.examples, rollout.texts,
                 rollout.completions.ids.tolist(), draws.num_groups, draws.num_tokens,
                 batches.state(step + 1))
            )  # fmt: skip
    return found, encoded


@one_family
@pytest.mark.parametrize("size", [2, 3, 7])  # of seven two have no place
def test_several_processes_draw_what_one_does_each_for_its_own_places(nano_policy, size):
    flat = {0, 1, 4, 5, 8, 9, 13, 14, 15, 16, 17, 20, 21}
    alone, _ = filled_by_ranks(nano_policy, flat)
    assert any(count for *_, count, _, _ in alone)
    results = as_ranks(size, lambda _: filled_by_ranks(nano_policy, flat))
    for found, _ in results:
        assert found == alone
    kept = [place for positions, *_ in alone for place in positions]
    assert len({*kept}) == len(kept), "no row is taken twice"
