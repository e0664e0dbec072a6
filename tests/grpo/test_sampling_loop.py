"""The sampling loop over a policy whose every token is known: tokens, scores, rows that leave."""

import math

import numpy as np
import pytest
import torch

import grpo.sampling
from grpo.rollout import PromptBatch, sample_rollout
from grpo.sampling import Completions, _asks_who_ended, generate, generate_greedy
from grpo.settings.config import GRPOConfig
from grpo.uniforms import token_uniforms
from tests.grpo.scripted import Scripted, countdown

SHARES = [0.4, 0.3, 0.2, 0.1]


def urn(_prompt: int, _position: int) -> list[float]:
    """Logits of the same four shares for every token."""
    return [math.log(share) for share in SHARES]


def sampled(policy: Scripted, prompts=(5, 6), positions=(5, 6), step=2, **options):
    given = {"group_size": 3, "max_completion_tokens": 40, "temperature": 1.0, "seed": 7}
    config = GRPOConfig(**{**given, **options})
    return sample_rollout(policy, PromptBatch(prompts, prompts, positions, step), config.sampling)


def numbers_of(positions=(5, 6), size=3, limit=40, seed=7, step=2) -> np.ndarray:
    rows = np.repeat(positions, size), np.tile(np.arange(size), len(positions))
    return token_uniforms(seed, step, *rows, limit)


def test_each_row_ends_with_its_own_end_token_and_is_padded_to_the_longest():
    done = generate_greedy(Scripted(countdown), [3, 1, 4], 6)
    assert done.ids.tolist() == [[2, 1, 0, -1], [0, -1, -1, -1], [3, 2, 1, 0]]
    assert done.mask.tolist() == [[i < n for i in range(4)] for n in (3, 1, 4)]
    score = 2 - math.log(math.exp(2) + 8)  # greedy too is scored at temperature 1
    torch.testing.assert_close(done.logprobs, done.mask * score)
    assert done.texts == ["2 1 0", "0", "3 2 1 0"]  # a tokenizer leaves out the end token
    assert not done.truncated.any()


def test_a_row_at_the_limit_is_truncated_unless_its_last_token_ends_it():
    done = generate_greedy(Scripted(countdown), [5, 4, 3], 4)
    assert done.ids.tolist() == [[4, 3, 2, 1], [3, 2, 1, 0], [2, 1, 0, -1]]
    assert done.truncated.tolist() == [True, False, False]
    assert done.texts == ["4 3 2 1", "3 2 1 0", "2 1 0"]


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
@pytest.mark.parametrize("banned_ids", [(), (7, 8)])
def test_scores_and_entropies_are_those_of_the_scaled_logits_after_bans(temperature, banned_ids):
    # one id of logit 2 among n of 0: log-prob 2 / T - log(exp(2 / T) + n - 1)
    policy = Scripted(countdown, banned_ids=banned_ids)
    done = generate(
        policy, [3, 1], [1, 1], max_completion_tokens=6, temperature=temperature, choose=None
    )
    likely, others = math.exp(2 / temperature), 8 - len(banned_ids)
    total = likely + others
    score = math.log(likely / total)
    entropy = -likely / total * score + others / total * math.log(total)
    expected = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(done.logprobs, expected * score)
    torch.testing.assert_close(done.entropies, expected * entropy)


def test_ended_rows_leave_once_they_are_a_quarter_and_the_run_ends_with_the_last():
    # rows of 1, 2, 3, .., 8 tokens: of 8 a quarter is 2, of 6 it is 2, of 4 it is 1
    policy = Scripted(countdown)
    done = generate_greedy(policy, list(range(1, 9)), 20)
    assert policy.rows_run == [8, 6, 6, 4, 3, 2, 1]
    assert done.mask.sum(dim=1).tolist() == list(range(1, 9))


def test_the_host_asks_only_every_so_many_tokens_who_has_ended(monkeypatch):
    monkeypatch.setattr(grpo.sampling, "TOKENS_PER_QUESTION", {"cpu": 3})
    policy = Scripted(countdown)
    done = generate_greedy(policy, [1, 2, 4, 7], 20)
    # after 3 tokens two rows have ended, after 6 another one, after 9 all
    assert policy.rows_run == [4, 4, 2, 2, 2, 1, 1, 1]
    assert done.mask.sum(dim=1).tolist() == [1, 2, 4, 7]
    assert done.ids.tolist()[0] == [0] + [-1] * 6


def test_of_another_kind_of_device_is_asked_after_every_token():
    assert all(_asks_who_ended(position, torch.device("meta")) for position in range(3))
    cuda = [_asks_who_ended(position, torch.device("cuda")) for position in range(16)]
    assert cuda == [False] * 7 + [True] + [False] * 7 + [True]


def test_what_is_computed_of_a_row_behind_its_end_leaves_zeros_be_it_nan(monkeypatch):
    monkeypatch.setattr(grpo.sampling, "TOKENS_PER_QUESTION", {"cpu": 4})

    def nan_behind_the_end(start: int, position: int) -> list[float]:
        return countdown(start, position) if position < start else [math.nan] * 9

    done = generate_greedy(Scripted(nan_behind_the_end), [1, 4, 2], 4)
    for scores in (done.logprobs, done.entropies):
        assert torch.equal(scores != 0, done.mask)
    assert done.ids.tolist()[0] == [0, -1, -1, -1]


def test_filtered_tokens_are_scored_by_what_is_kept():
    limits = {"top_k": 3, "top_p": 0.7, "logprob_distribution": "filtered"}
    done = sampled(Scripted(urn, end_ids=(9,)), **limits).completions
    expected = torch.tensor(numbers_of() > 0.4 / 0.7).long()  # two ids hold 0.7 of 0.9
    assert torch.equal(done.ids, expected)
    torch.testing.assert_close(done.logprobs, torch.tensor([4 / 7, 3 / 7]).log()[expected])
    assert torch.equal(done.kept, torch.tensor([0, 1, -1]).int().expand(6, 40, 3))


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_filtered_row_that_is_not_finite_says_so_and_has_an_id_of_the_vocabulary(wrong):
    def logits(prompt: int, position: int) -> list[float]:
        return [0.0, 1.0, wrong if prompt == 5 and position == 1 else 0.5, 0.0]

    limits = {"top_k": 2, "logprob_distribution": "filtered", "max_completion_tokens": 3}
    done = sampled(Scripted(logits, end_ids=(9,)), **limits).completions
    assert done.not_finite.tolist() == [[False, True, False]] * 3 + [[False] * 3] * 3
    assert (done.ids[:3, 1] == 0).all()


def test_a_token_is_not_finite_where_either_of_its_scores_is_not():
    scores = torch.tensor([[0.0, math.nan, 0.0, -math.inf]])
    entropies = torch.tensor([[0.0, 0.0, math.inf, math.nan]])
    done = Completions(scores, scores, scores, entropies, scores, [])
    assert done.not_finite.tolist() == [[False, True, True, True]]


def test_nothing_is_decoded_behind_the_last_token():
    policy = Scripted(countdown)
    generate_greedy(policy, [8, 8], 3)
    assert policy.rows_run == [2, 2]


def test_each_token_is_the_one_that_the_number_of_its_place_stands_for():
    done = sampled(Scripted(urn, end_ids=(9,))).completions
    bounds = torch.tensor([0.4, 0.7, 0.9], dtype=torch.float64)
    expected = torch.bucketize(torch.tensor(numbers_of()).double(), bounds, right=True)
    assert torch.equal(done.ids, expected)
    torch.testing.assert_close(done.logprobs, torch.tensor(SHARES).log()[expected])


@pytest.mark.parametrize("limits", [{"top_k": 2}, {"top_p": 0.6}])
def test_top_k_and_top_p_choose_among_the_likeliest_and_score_by_all(limits):
    done = sampled(Scripted(urn, end_ids=(9,)), **limits).completions
    expected = torch.tensor(numbers_of() > 0.4 / 0.7).long()
    assert torch.equal(done.ids, expected)
    torch.testing.assert_close(done.logprobs, torch.tensor(SHARES).log()[expected])


def test_the_temperature_moves_the_shares_that_are_sampled():
    # at 1/2 the shares are squared: 16 : 9 : 4 : 1
    done = sampled(Scripted(urn, end_ids=(9,)), temperature=0.5).completions
    bounds = torch.tensor([16, 25, 29], dtype=torch.float64) / 30
    numbers = torch.tensor(numbers_of()).double()
    assert torch.equal(done.ids, torch.bucketize(numbers, bounds, right=True))


def test_the_pass_over_the_prompts_and_the_room_for_tokens_are_handed_on():
    policy, prompt_pass = Scripted(countdown), object()
    batch = PromptBatch((2,), (2,), (0,), 0)
    sampling = GRPOConfig(group_size=2, max_completion_tokens=5).sampling
    sample_rollout(policy, batch, sampling, prompt_pass)
    assert policy.given == (5, prompt_pass)
    sample_rollout(policy, batch, sampling)
    assert policy.given == (5, None)


def test_a_rollout_keeps_its_batch_and_its_groups():
    rollout = sampled(Scripted(countdown), prompts=(2, 1), group_size=2, max_completion_tokens=1)
    assert rollout.batch.prompts == (2, 1)
    assert rollout.group_size == 2
    assert [len(texts) for texts in rollout.texts] == [2, 2]


def test_logits_far_from_zero_neither_overflow_nor_vanish_beside_others():
    # exp of either row's would be 0 or inf in float32, and so would be that of their difference
    policy = Scripted(lambda row, _position: [1e4 * row + share for share in urn(0, 0)])
    policy.processor.end_ids = (9,)
    done = sampled(policy, prompts=(-1, 1)).completions
    for group in (done.ids[:3], done.ids[3:]):
        assert group.unique().tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(
        done.logprobs, torch.tensor(SHARES).log()[done.ids], atol=2e-3, rtol=0
    )


def test_the_backend_of_the_scores_is_the_one_that_is_asked_for():
    policy = Scripted(countdown)
    options = {"max_completion_tokens": 2, "temperature": 1.0, "choose": None}
    with pytest.raises(ValueError, match="'nowhere'"):
        generate(policy, [2], [1], **options, backend="nowhere")
    batch = PromptBatch((2,), (2,), (0,), 0)
    sampling = GRPOConfig(group_size=2, max_completion_tokens=2).sampling
    with pytest.raises(ValueError, match="'nowhere'"):
        sample_rollout(policy, batch, sampling, backend="nowhere")
