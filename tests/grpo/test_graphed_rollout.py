"""A rollout on the graphs' step, or that asks as seldom as on a GPU, samples the same tokens."""

from dataclasses import replace

import pytest
import torch

import grpo.sampling
import models.decode.buffers
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch, sample_rollout
from grpo.sampling import generate_greedy
from grpo.settings.config import GRPOConfig
from tests.models.decode.decode_cases import unlike_prompts

pytestmark = pytest.mark.model

CONFIG = GRPOConfig(group_size=6, max_completion_tokens=20, temperature=0.7, seed=3)


@pytest.fixture
def policy(nano_policy, monkeypatch):
    monkeypatch.setattr(models.decode.buffers, "SLOTS", 8)
    yield nano_policy
    nano_policy.decode_graphs = "auto"
    nano_policy.free_decoding()


def rollout_of(policy, config=CONFIG, step=4):
    batch = PromptBatch(tuple(unlike_prompts(policy)), (0, 1, 2), (10, 11, 12), step)
    return sample_rollout(policy, batch, config.sampling).completions


def assert_same(ours, theirs):
    lengths = theirs.mask.sum(dim=1)
    assert lengths.min() < lengths.max()  # rows left on the way
    for name in ("ids", "mask", "truncated", "texts"):
        ours_, theirs_ = getattr(ours, name), getattr(theirs, name)
        assert ours_ == theirs_ if name == "texts" else torch.equal(ours_, theirs_), name
    for name in ("logprobs", "entropies"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=1e-5, rtol=0)


def test_the_same_tokens_and_logprobs_by_either_step(policy):
    expected = rollout_of(policy)
    policy.decode_graphs = "stand-in"
    assert_same(rollout_of(policy), expected)
    graphs = dict(policy._decoder.graphs._graphs)
    assert_same(rollout_of(policy), expected)
    assert policy._decoder.graphs._graphs == graphs and len(graphs) > 2  # the second made none


@pytest.mark.parametrize("mode", ["off", "stand-in"])
@pytest.mark.parametrize("tokens", [3, 8, 50])
def test_asking_seldom_who_ended_changes_nothing(policy, monkeypatch, tokens, mode):
    expected = rollout_of(policy)
    selected = []
    monkeypatch.setattr(grpo.sampling, "TOKENS_PER_QUESTION", {"cpu": tokens})
    policy.decode_graphs = mode
    prefill = policy.prefill

    def watched(*args):
        state, hidden = prefill(*args)
        select = state.select
        state.select = lambda rows: (selected.append(len(rows)), select(rows))
        return state, hidden

    monkeypatch.setattr(policy, "prefill", watched)
    assert_same(rollout_of(policy), expected)
    assert len(selected) <= 20 // tokens and (selected or tokens > 8)


def test_after_an_update_the_same_graphs_sample_from_the_new_weights(policy):
    saved = {name: weight.detach().clone() for name, weight in policy.named_parameters()}
    optimizer = PolicyOptimizer(policy, replace(CONFIG, learning_rate=3e-3), total_steps=4)
    policy.decode_graphs = "stand-in"
    try:
        first = rollout_of(policy)
        graphs = dict(policy._decoder.graphs._graphs)
        optimizer.start_step(0)
        for weight in optimizer.weights.values():
            weight.grad = torch.ones_like(weight)
        optimizer.step(max_grad_norm=1.0)
        second = rollout_of(policy)
        now = policy._decoder.graphs._graphs
        assert all(now[key] is graph for key, graph in graphs.items())
        policy.decode_graphs = "off"
        assert_same(second, rollout_of(policy))
        assert (second.logprobs[:, 0] - first.logprobs[:, 0]).abs().max() > 0.01
    finally:
        optimizer.zero_grad()
        with torch.no_grad():
            for name, weight in policy.named_parameters():
                weight.copy_(saved[name])


def test_greedy_evaluation_is_the_same(policy):
    expected = generate_greedy(policy, unlike_prompts(policy), 20)
    policy.decode_graphs = "stand-in"
    ours = generate_greedy(policy, unlike_prompts(policy), 20)
    assert torch.equal(ours.ids, expected.ids)
    torch.testing.assert_close(ours.logprobs, expected.logprobs, atol=1e-5, rtol=0)
