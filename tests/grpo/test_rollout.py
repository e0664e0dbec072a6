"""Cutting a rollout into micro-batches: every row once, within the budget, groups kept together."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grpo.rollout import PromptBatch, Rollout, micro_batches, sample_rollout
from grpo.sampling import Completions
from grpo.settings.config import GRPOConfig


def rollout(prompt_tokens: list[int], row_tokens: list[int], group_size: int) -> Rollout:
    """A rollout of given lengths; row r is filled with the number r."""
    prompts = tuple(SimpleNamespace(num_tokens=n, name=i) for i, n in enumerate(prompt_tokens))
    longest = max(row_tokens)
    mask = torch.arange(longest) < torch.tensor(row_tokens)[:, None]
    ids = torch.arange(len(row_tokens))[:, None].expand(-1, longest)
    zeros = torch.zeros(mask.shape)
    texts = [f"row {i}" for i in range(len(row_tokens))]
    completions = Completions(ids, mask, zeros, zeros, mask.new_zeros(len(row_tokens)), texts)
    batch = PromptBatch(prompts, prompts, tuple(range(len(prompts))), 0)
    return Rollout(batch, completions, group_size)


def test_worked_example():
    # groups of 2; prompts 10, 10, 10; completions 5: one group is 10 + 2 * 5 = 20 tokens
    assert list(micro_batches(rollout([10] * 3, [5] * 6, 2), 40)) == [[0, 1, 2, 3], [4, 5]]
    assert list(micro_batches(rollout([10] * 3, [5] * 6, 2), 60)) == [[0, 1, 2, 3, 4, 5]]


def test_only_tokens_that_are_run_are_counted_since_nothing_is_padded():
    # 10 + 30 prompt tokens and 5 + 1 + 2 + 12 of the completions: 60
    uneven = rollout([10, 30], [5, 1, 2, 12], 2)
    assert list(micro_batches(uneven, 59)) == [[0, 1], [2, 3]]
    assert list(micro_batches(uneven, 60)) == [[0, 1, 2, 3]]


def test_groups_can_be_left_out():
    assert list(micro_batches(rollout([10] * 3, [5] * 6, 2), 40, [0, 2])) == [[0, 1, 4, 5]]
    assert list(micro_batches(rollout([10] * 3, [5] * 6, 2), 39, [0, 2])) == [[0, 1], [4, 5]]
    assert list(micro_batches(rollout([10] * 3, [5] * 6, 2), 40, [])) == []


def test_a_group_is_split_only_when_it_does_not_fit_alone():
    # group 0 is 10 + 4 * 10 = 50; a budget of 35 takes 10 + 2 * 10
    assert list(micro_batches(rollout([10, 10], [10] * 8, 4), 50)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    parts = list(micro_batches(rollout([10, 10], [10] * 8, 4), 35))
    assert parts == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_budget_that_is_met_to_the_token_is_kept():
    # two groups are 40, also after the first 40; a split group's pieces are 10 + 2 * 10 each
    assert list(micro_batches(rollout([10] * 4, [5] * 8, 2), 40)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert list(micro_batches(rollout([10], [10] * 4, 4), 30)) == [[0, 1], [2, 3]]
    assert list(micro_batches(rollout([10], [10] * 4, 4), 29)) == [[0], [1], [2], [3]]


def test_a_group_behind_one_that_was_split_starts_a_micro_batch_of_its_own():
    # 10 + 4 * 10 does not fit into 35; the two groups of 10 + 4 * 1 behind it share one
    lengths = [10] * 4 + [1] * 8
    parts = list(micro_batches(rollout([10] * 3, lengths, 4), 35))
    assert parts == [[0, 1], [2, 3], [4, 5, 6, 7, 8, 9, 10, 11]]


def test_a_single_row_is_never_refused():
    assert list(micro_batches(rollout([100], [50, 50], 2), 10)) == [[0], [1]]


@given(st.data())
def test_every_row_once_in_order_and_within_the_budget(data):
    size = data.draw(st.integers(1, 4))
    prompts = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=6))
    count = len(prompts) * size
    lengths = data.draw(st.lists(st.integers(1, 20), min_size=count, max_size=count))
    budget = data.draw(st.integers(1, 200))
    parts = list(micro_batches(rollout(prompts, lengths, size), budget))
    assert [row for part in parts for row in part] == list(range(count))
    for part in parts:
        groups = sorted({row // size for row in part})
        tokens = sum(prompts[g] for g in groups) + sum(lengths[row] for row in part)
        assert tokens <= budget or len(part) == 1
        whole = all(sum(row // size == g for row in part) == size for g in groups)
        rows = range(groups[0] * size, (groups[0] + 1) * size)
        alone = prompts[groups[0]] + sum(lengths[row] for row in rows)
        assert whole or (len(groups) == 1 and alone > budget)


def test_selected_rows_keep_their_prompt_once_and_are_trimmed():
    part = rollout([3, 4, 5], [2, 7, 1, 3, 4, 4], 2).select([2, 3, 4])
    assert [prompt.name for prompt in part.prompts] == [1, 2]
    assert part.rows_per_prompt == (2, 1)
    assert part.completion_ids[:, 0].tolist() == [2, 3, 4]
    assert part.completion_mask.sum(dim=1).tolist() == [1, 3, 4]
    assert part.completion_ids.shape == (3, 4)


def test_a_part_cuts_the_tables_of_the_step_to_its_own_rows_and_tokens():
    part = rollout([3, 4, 5], [2, 7, 1, 3, 4, 4], 2).select([2, 3, 5])
    table = torch.arange(6)[:, None] * 10 + torch.arange(7)  # (B, C): row r is 10 r, 10 r + 1, ..
    assert part.rows == (2, 3, 5)
    assert part.cut(table).tolist() == [[20, 21, 22, 23], [30, 31, 32, 33], [50, 51, 52, 53]]
    assert part.cut(table[:, 0]).tolist() == [20, 30, 50]


@pytest.mark.parametrize("groups", [None, [0, 2]])
def test_parts_are_the_micro_batches_with_their_rows(groups):
    whole = rollout([5, 6, 7], [4, 9, 2, 2, 8, 1], 2)
    parts = list(whole.parts(20, groups))
    assert [list(part.rows) for part in parts] == list(micro_batches(whole, 20, groups))
    for part in parts:
        assert torch.equal(part.cut(whole.completions.ids), part.completion_ids)
        assert torch.equal(part.cut(whole.completion_mask), part.completion_mask)


def test_a_truncated_row_is_left_out_of_the_loss_only_where_it_is_masked():
    whole = rollout([1], [3, 2, 1], 3)
    whole.completions.truncated[0] = True
    assert whole.loss_mask(False).sum(dim=1).tolist() == [3, 2, 1]
    assert whole.loss_mask(True).sum(dim=1).tolist() == [0, 2, 1]
    assert whole.completion_mask.sum() == 6


def test_a_function_sees_each_completion_with_its_own_example():
    pairs = rollout([1, 1], [1] * 4, 2).for_each(lambda text, example: f"{text}, {example.name}")
    assert pairs == [["row 0, 0", "row 1, 0"], ["row 2, 1", "row 3, 1"]]


@pytest.mark.parametrize("examples", [(), ("one",), ("one", "two", "three")])
def test_a_group_without_an_example_of_its_own_is_refused(examples):
    whole = rollout([1, 1], [1] * 4, 2)
    short = replace(whole, batch=replace(whole.batch, examples=examples))
    with pytest.raises(ValueError, match=r"argument 2 is (shorter|longer)"):
        short.for_each(lambda *_: 0)


def test_texts_are_grouped_prompt_major():
    texts = rollout([1, 1], [1] * 4, 2).texts
    assert texts == [["row 0", "row 1"], ["row 2", "row 3"]]


@pytest.mark.parametrize("budget", [20, 45, 1000])
def test_the_cut_never_changes_what_is_selected(budget):
    whole = rollout([5, 6, 7], [4, 9, 2, 2, 8, 1], 2)
    rows = [
        (ids[mask].tolist(), prompt)
        for part in (whole.select(rows) for rows in micro_batches(whole, budget))
        for ids, mask, prompt in zip(
            part.completion_ids,
            part.completion_mask,
            [p for p, n in zip(part.prompts, part.rows_per_prompt, strict=True) for _ in range(n)],
            strict=True,
        )
    ]
    lengths = [4, 9, 2, 2, 8, 1]
    assert [ids for ids, _ in rows] == [[row] * n for row, n in enumerate(lengths)]
    assert [prompt.name for _, prompt in rows] == [0, 0, 1, 1, 2, 2]


def test_a_process_without_a_prompt_samples_nothing():
    """More processes than prompts: no policy is run, and what there is has no rows."""
    made = sample_rollout(None, PromptBatch((), ("a",), (0,), 0), GRPOConfig(group_size=3).sampling)
    assert made.completions.ids.shape == made.completion_mask.shape == (0, 1)
    assert made.texts == [] and made.group_size == 3
