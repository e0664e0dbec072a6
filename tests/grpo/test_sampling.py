"""The sampler against the update's own forward, and against other layouts of the same rows."""

from dataclasses import replace

import pytest
import torch

import grpo.sampling
from grpo.likelihood import completion_logprobs, completion_scores
from grpo.rollout import PromptBatch, sample_rollout
from grpo.sampling import generate_greedy, output_logits
from grpo.settings.config import GRPOConfig
from tests.models.hidden import completion_hidden
from tests.models.nano import random_image

pytestmark = pytest.mark.model

CONFIG = GRPOConfig(group_size=6, max_completion_tokens=12, temperature=0.7, seed=3)


def encode_prompts(policy) -> tuple:
    """Prompts that differ in text, length, number and size of images."""
    sizes = [[(56, 84)], [(90, 130), (56, 56)], []]
    texts = ["Which plane is this?", "What changed?", "Name a modality."]
    return tuple(
        policy.processor.encode(
            text, [random_image(*size, seed=i) for i, size in enumerate(images)]
        )
        for text, images in zip(texts, sizes, strict=True)
    )


def batch_of(prompts, positions=(10, 11, 12), step=4) -> PromptBatch:
    return PromptBatch(tuple(prompts), tuple(positions), tuple(positions), step)


def rows_of(rollout) -> dict:
    """Sampled ids by (position in the run, index in the group)."""
    ids, mask = rollout.completions.ids, rollout.completions.mask
    return {
        (rollout.batch.positions[row // rollout.group_size], row % rollout.group_size): (
            ids[row][mask[row]].tolist()
        )
        for row in range(len(ids))
    }


@pytest.fixture
def prompts(nano_policy):
    return encode_prompts(nano_policy)


@pytest.fixture
def rollout(nano_policy, prompts):
    return sample_rollout(nano_policy, batch_of(prompts), CONFIG.sampling)


def test_its_logprobs_are_those_of_the_updates_forward(nano_policy, rollout):
    lengths = rollout.completion_mask.sum(dim=1)
    assert lengths.min() < lengths.max()  # some ended early, so rows have left the batch
    scored = completion_logprobs(nano_policy, rollout.select(range(18)), CONFIG.temperature)
    torch.testing.assert_close(rollout.completions.logprobs, scored.detach(), atol=1e-4, rtol=0)


def test_the_entropy_is_that_of_the_scaled_distribution_after_bans(nano_policy, rollout):
    part = rollout.select(range(18))
    with torch.no_grad():
        hidden = completion_hidden(
            nano_policy, part.prompts, part.rows_per_prompt, part.completion_ids
        )
        logits = hidden @ nano_policy.output_weight.T / CONFIG.temperature
        logits[..., list(nano_policy.processor.banned_ids)] = float("-inf")
        expected = torch.distributions.Categorical(logits=logits.double()).entropy()
    expected = expected.float() * part.completion_mask
    torch.testing.assert_close(rollout.completions.entropies, expected, atol=1e-4, rtol=0)


def test_a_completion_ends_with_its_first_end_token_or_is_truncated(nano_policy, rollout):
    ends = set(nano_policy.processor.end_ids)
    truncated = rollout.completions.truncated.tolist()
    assert any(truncated) and not all(truncated)
    for row, (ids, cut) in enumerate(zip(rows_of(rollout).values(), truncated, strict=True)):
        assert not ends & set(ids[:-1])
        assert (ids[-1] in ends) is not cut, row
        assert not cut or len(ids) == CONFIG.max_completion_tokens
        text = nano_policy.processor.decode(ids if cut else ids[:-1])
        assert rollout.completions.texts[row] == text


def test_banned_ids_are_never_sampled_however_likely(nano_policy, prompts):
    wanted = int(generate_greedy(nano_policy, prompts[:1], 1).ids[0, 0])
    processor = nano_policy.processor
    nano_policy.processor = replace(processor, banned_ids=(*processor.banned_ids, wanted))
    try:
        rollout = sample_rollout(nano_policy, batch_of(prompts), CONFIG.sampling)
        assert not (rollout.completions.ids[rollout.completion_mask] == wanted).any()
        scored = completion_logprobs(nano_policy, rollout.select(range(18)), CONFIG.temperature)
    finally:
        nano_policy.processor = processor
    torch.testing.assert_close(rollout.completions.logprobs, scored.detach(), atol=1e-4, rtol=0)


def test_the_same_tokens_under_three_batch_layouts(nano_policy, prompts, rollout, monkeypatch):
    expected = rows_of(rollout)
    backwards = sample_rollout(nano_policy, batch_of(prompts[::-1], (12, 11, 10)), CONFIG.sampling)
    assert rows_of(backwards) == expected
    alone = [
        sample_rollout(nano_policy, batch_of([p], [10 + i]), CONFIG.sampling)
        for i, p in enumerate(prompts)
    ]
    assert {key: ids for part in alone for key, ids in rows_of(part).items()} == expected
    monkeypatch.setattr(grpo.sampling, "ENDED_SHARE", 1.0)  # no row leaves before all have ended
    assert rows_of(sample_rollout(nano_policy, batch_of(prompts), CONFIG.sampling)) == expected
    smaller = sample_rollout(nano_policy, batch_of(prompts), replace(CONFIG, group_size=2).sampling)
    assert rows_of(smaller).items() <= expected.items()


def test_a_row_drawn_twice_gets_fresh_numbers(nano_policy, prompts):
    twice = rows_of(
        sample_rollout(nano_policy, batch_of([prompts[0]] * 2, (0, 3)), CONFIG.sampling)
    )
    assert [twice[0, i] for i in range(6)] != [twice[3, i] for i in range(6)]
    later = rows_of(
        sample_rollout(nano_policy, batch_of(prompts[:1], (0,), step=9), CONFIG.sampling)
    )
    assert [twice[0, i] for i in range(6)] != [later[0, i] for i in range(6)]


def test_frequencies_of_the_first_token_follow_the_models_probabilities(nano_policy, prompts):
    config = replace(CONFIG, group_size=400, max_completion_tokens=1)
    rollout = sample_rollout(nano_policy, batch_of(prompts[:1], (0,)), config.sampling)
    first = rollout.completions.ids[:, 0]
    _, hidden = nano_policy.prefill(prompts[:1], [1], 1)
    logits = (hidden @ nano_policy.output_weight.T)[0].detach() / CONFIG.temperature
    logits[list(nano_policy.processor.banned_ids)] = float("-inf")
    probabilities = logits.softmax(dim=0)
    likely = probabilities.topk(5).indices
    shares = (first[:, None] == likely).float().mean(dim=0)
    spread = (probabilities[likely] * (1 - probabilities[likely]) / 400).sqrt()
    assert ((shares - probabilities[likely]).abs() < 5 * spread).all()


def test_greedy_takes_the_likeliest_token_every_time(nano_policy, prompts):
    completions = generate_greedy(nano_policy, prompts, 8)
    rows = [1] * len(prompts)
    with torch.no_grad():
        hidden = completion_hidden(nano_policy, prompts, rows, completions.ids)
    logits = hidden @ nano_policy.output_weight.T
    logits[..., list(nano_policy.processor.banned_ids)] = float("-inf")
    assert torch.equal(logits.argmax(dim=-1)[completions.mask], completions.ids[completions.mask])


def test_top_k_of_one_is_greedy_and_leaves_the_reported_logprobs_alone(nano_policy, prompts):
    rollout = sample_rollout(nano_policy, batch_of(prompts), replace(CONFIG, top_k=1).sampling)
    greedy = generate_greedy(nano_policy, prompts, CONFIG.max_completion_tokens)
    for group, row in enumerate(greedy.ids):
        ids = row[greedy.mask[group]].tolist()
        assert rows_of(rollout)[10 + group, 5] == ids
    scored = completion_logprobs(nano_policy, rollout.select(range(18)), CONFIG.temperature)
    torch.testing.assert_close(rollout.completions.logprobs, scored.detach(), atol=1e-4, rtol=0)
    assert rollout.completions.logprobs.min() < -0.1  # those of the full distribution


FILTERED = replace(CONFIG, top_k=6, top_p=0.8, logprob_distribution="filtered")


def test_filtered_scores_are_of_the_same_tokens_and_those_of_the_updates_forward(
    nano_policy, prompts
):
    filtered = sample_rollout(nano_policy, batch_of(prompts), FILTERED.sampling)
    of_all = replace(FILTERED, logprob_distribution="full")
    full = sample_rollout(nano_policy, batch_of(prompts), of_all.sampling)
    assert rows_of(filtered) == rows_of(full)
    kept, mask = filtered.completions.kept, filtered.completion_mask
    assert kept.shape == (*mask.shape, 6) and kept.dtype == torch.int32
    counts = (kept >= 0).sum(dim=2)[mask]
    assert counts.min() < counts.max() <= 6, "top-p leaves out some of the six"
    assert (kept == filtered.completions.ids[..., None])[mask].sum(dim=1).eq(1).all()
    gained = (filtered.completions.logprobs - full.completions.logprobs)[mask]
    assert gained.min() > -1e-5 and gained.max() > 0.1

    scored, entropies = completion_scores(
        nano_policy, filtered.select(range(18)), CONFIG.temperature, with_entropy=True
    )
    near = {"atol": 1e-5, "rtol": 0}
    torch.testing.assert_close(filtered.completions.logprobs, scored.detach(), **near)
    torch.testing.assert_close(filtered.completions.entropies, entropies.detach(), **near)


def test_filtered_scores_add_up_to_one_over_the_kept_ids(nano_policy, prompts):
    rollout = sample_rollout(nano_policy, batch_of(prompts), FILTERED.sampling)
    part = rollout.select(range(18))
    hidden = completion_hidden(
        nano_policy, part.prompts, part.rows_per_prompt, part.completion_ids
    )  # (M, C, D)
    log_p = (hidden @ nano_policy.output_weight.T / CONFIG.temperature).log_softmax(dim=2)
    for row, column in part.completion_mask.nonzero().tolist():
        ids = [i for i in part.kept[row, column].tolist() if i >= 0]
        total = sum(log_p[row, column, i].exp() for i in ids)
        expected = log_p[row, column, part.completion_ids[row, column]] - total.log()
        found = rollout.completions.logprobs[row, column]
        assert found.item() == pytest.approx(expected.item(), abs=1e-4)


def test_logits_are_float32_products_of_what_the_model_computed():
    hidden, weight = torch.randn(3, 8), torch.randn(5, 8)
    torch.testing.assert_close(output_logits(hidden, weight), hidden @ weight.T)
    rounded = output_logits(hidden.bfloat16(), weight.bfloat16())
    assert rounded.dtype == torch.float32
    exact = hidden.bfloat16().double() @ weight.bfloat16().double().T
    torch.testing.assert_close(rounded.double(), exact, atol=1e-5, rtol=1e-5)
