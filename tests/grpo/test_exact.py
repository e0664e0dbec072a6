"""The exact step against slow formulas, against a list of everything, and against sampling."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from data.examples import VQAExample
from data.prompts import well_formed_answers
from grpo.clock import StepClock
from grpo.exact import _means, _scored, exact_step
from grpo.methods import exact_method
from grpo.objectives.enumerated import event_kl, exact_loss
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch
from grpo.settings.config import GRPOConfig
from grpo.step import train_step
from process.ranks import world
from rewards import ParseOnce, load_rewards
from rewards.bound import each
from tests.grpo.test_step import Recorder, assert_equal_gradients, reference, slow_logprobs
from tests.models.nano import random_image
from tests.threads_as_ranks import as_ranks

__all__ = ["reference"]  # a fixture
pytestmark = pytest.mark.model

CONFIG = GRPOConfig(
    exact_no_think=True,
    mode="no_think",
    prompts_per_step=3,
    max_completion_tokens=24,
    micro_batch_tokens=100_000,
    rewards=("table", "short"),
    reward_weights=(1.0, 0.5),
    learning_rate=1e-3,
    max_grad_norm=1e9,
    temperature=1.2,
)
EXAMPLES = (
    VQAExample("a-0", (), "Which?", ("CT", "MRI", "PET"), "B"),
    VQAExample("b-0", (), "Is it?", ("Yes", "No"), "A", form="yes_no"),
    VQAExample("c-0", (), "Which one?", ("1", "2", "3", "4"), "D"),
)


def of_table(text: str, example) -> float:
    """Return some number for every text, so that no two answers are worth the same."""
    return (7 * sum(map(ord, text)) + len(example.id + example.question)) % 11 / 5 - 1


REWARDS = {"table": each(of_table), "short": each(lambda text, _: 1.0 / (1 + len(text)))}


# Random weights write "<answer>B</answer>" never, so here the answers are bytes of their own.
def short_answers(example: VQAExample) -> list[str]:
    return [text.removeprefix("<answer>")[0] for text in well_formed_answers(example)]


@pytest.fixture(scope="module")
def batch(nano_policy):
    prompts = tuple(
        nano_policy.processor.encode(example.question, [random_image(56, 56 + 28 * i, seed=i)])
        for i, example in enumerate(EXAMPLES)
    )
    return PromptBatch(prompts, EXAMPLES, (0, 1, 2), 0)


def run(policy, reference, batch, config, answers=None, reward_fns=REWARDS):
    optimizer, clock = Recorder(policy, config), StepClock(policy.device)
    answers = answers or [short_answers(example) for example in batch.examples]
    metrics = exact_step(policy, reference, optimizer, batch, answers, reward_fns, config, clock)
    return metrics, optimizer.gradients[0]


def slow(policy, reference, batch, config):
    """Return the loss and its gradient: each answer alone, then the oracle of one prompt."""
    policy.zero_grad(set_to_none=True)
    total = 0.0
    for prompt, example in zip(batch.prompts, batch.examples, strict=True):
        texts = short_answers(example)
        end = policy.processor.turn_end_id
        ids = [[*policy.processor.encode_completion(text), end] for text in texts]

        def logprobs(model, prompt=prompt, ids=ids):
            rows = [slow_logprobs(model, prompt, row, config.temperature).sum() for row in ids]
            return torch.stack(rows)[None]

        earned = [of_table(text, example) + 0.5 / (1 + len(text)) for text in (*texts, "")]
        loss = exact_loss(
            logprobs(policy),
            torch.ones(1, len(texts), dtype=torch.bool),
            torch.tensor([earned[:-1]]),
            torch.tensor(earned[-1:]),
            ref_logprobs=logprobs(reference).detach() if reference is not None else None,
            beta=config.beta,
        )
        (loss / len(batch.prompts)).backward()
        total += loss.item() / len(batch.prompts)
    gradients = {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}
    return total, gradients


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_loss_and_gradient_equal_the_slow_ones(nano_policy, reference, batch, beta):
    config = replace(CONFIG, beta=beta)
    reference = reference if beta else None
    metrics, gradient = run(nano_policy, reference, batch, config)
    loss, slow_gradient = slow(nano_policy, reference, batch, config)
    assert metrics["loss"] == pytest.approx(loss, abs=1e-5)
    assert metrics["loss"] == pytest.approx(beta * (metrics["kl"] or 0) - metrics["reward"])
    assert (metrics["kl"] is None) is (beta == 0) and (not beta or metrics["kl"] > 0)
    assert_equal_gradients(gradient, slow_gradient, bar=2e-4)


def test_what_is_logged_of_the_answers_is_made_of_their_probabilities(nano_policy, batch):
    metrics, _ = run(nano_policy, None, batch, replace(CONFIG, beta=0.0))
    left, entropies, end = [], [], nano_policy.processor.turn_end_id
    for prompt, example in zip(batch.prompts, batch.examples, strict=True):
        ids = map(nano_policy.processor.encode_completion, short_answers(example))
        with torch.no_grad():
            rows = [slow_logprobs(nano_policy, prompt, [*some, end], 1.2).sum() for some in ids]
        p = torch.stack(rows).double().exp()
        shares = p / p.sum()
        left.append(1 - p.sum().item())
        entropies.append(-(shares * shares.log()).sum().item())
    assert metrics["exact/mass_outside"] == pytest.approx(sum(left) / 3, abs=1e-7)
    assert metrics["exact/answer_entropy"] == pytest.approx(sum(entropies) / 3, rel=1e-4)


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_no_cut_into_micro_batches_moves_the_gradient(nano_policy, reference, batch, beta):
    config = replace(CONFIG, beta=beta)
    reference = reference if beta else None
    whole_metrics, whole = run(nano_policy, reference, batch, config)
    for budget in (25, 45, 90):  # one row, parts of a group, a group or two
        metrics, parts = run(
            nano_policy, reference, batch, replace(config, micro_batch_tokens=budget)
        )
        assert_equal_gradients(parts, whole, bar=1e-4)
        assert metrics == pytest.approx(whole_metrics, abs=1e-5)


def test_a_reference_that_is_the_policy_has_no_kl_and_moves_nothing(nano_policy, batch):
    plain_metrics, plain = run(nano_policy, None, batch, replace(CONFIG, beta=0.0))
    metrics, gradient = run(nano_policy, nano_policy, batch, replace(CONFIG, beta=0.3))
    assert metrics["kl"] == pytest.approx(0, abs=1e-9)
    assert_equal_gradients(gradient, plain, bar=1e-4)
    assert plain_metrics["reward"] == pytest.approx(metrics["reward"])


def test_an_answer_that_no_sampled_completion_could_end_is_refused(nano_policy, batch):
    answers = [well_formed_answers(example) for example in EXAMPLES]  # of bytes
    config = replace(CONFIG, beta=0.0)
    metrics, _ = run(nano_policy, None, batch, config, answers)
    assert metrics["exact/mass_outside"] == pytest.approx(1)
    letters, words = len("<answer>A</answer>"), [len("<answer>Yes</answer>"), 20 - 1]
    assert metrics["completion_tokens"] == pytest.approx(1 + (7 * letters + sum(words)) / 9)
    run(nano_policy, None, batch, replace(config, max_completion_tokens=21), answers)
    with pytest.raises(ValueError, match=r"max_completion_tokens=20 cuts off .* of 21 tokens"):
        run(nano_policy, None, batch, replace(config, max_completion_tokens=20), answers)


# Everything that can be sampled: three bytes or the end, at most two tokens.
LIMIT, WORDS = 2, "xyz"


@pytest.fixture
def few(nano_policy):
    """The policy with three bytes and one end token that it may write."""
    before = nano_policy.processor
    allowed = {*before.encode_completion(WORDS), before.turn_end_id}
    rest = tuple(i for i in range(nano_policy.output_weight.shape[0]) if i not in allowed)
    nano_policy.processor = replace(before, banned_ids=rest, end_ids=(before.turn_end_id,))
    yield nano_policy
    nano_policy.processor = before


def one_prompt(policy, copies: int = 1, step: int = 0) -> PromptBatch:
    prompt = policy.processor.encode("Which?", [random_image(56, 56, seed=0)])
    positions = tuple(range(copies * step, copies * (step + 1)))
    return PromptBatch((prompt,) * copies, (EXAMPLES[0],) * copies, positions, step)


def all_gradient(policy, reward) -> tuple[float, dict]:
    """Return the expected reward over all that can be sampled, and its loss's gradient."""
    end, codes = policy.processor.turn_end_id, policy.processor.encode_completion(WORDS)
    ended = [(*some, end) for n in range(LIMIT) for some in product(codes, repeat=n)]
    ids = ended + list(product(codes, repeat=LIMIT))
    (prompt,) = one_prompt(policy).prompts
    texts = [policy.processor.decode([i for i in some if i != end]) for some in ids]
    policy.zero_grad(set_to_none=True)
    logprobs = torch.stack([slow_logprobs(policy, prompt, list(some), 1.0).sum() for some in ids])
    assert logprobs.exp().sum().item() == pytest.approx(1, abs=1e-5)
    rewards = torch.tensor([reward(text, EXAMPLES[0]) for text in texts])
    everything = torch.ones(1, len(ids), dtype=torch.bool)
    loss = exact_loss(logprobs[None], everything, rewards[None], torch.zeros(1))
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}
    return -loss.item(), gradients


def test_where_all_other_completions_are_malformed_it_is_the_gradient_over_everything(few):
    def reward(text: str, _example) -> float:
        return {"x": 2.0, "y": 1.0}.get(text, -0.5)

    config = replace(CONFIG, rewards=("table",), reward_weights=(), beta=0.0, temperature=1.0)
    metrics, gradient = run(few, None, one_prompt(few), config, [["x", "y"]], {"r": each(reward)})
    expected, of_everything = all_gradient(few, reward)
    assert metrics["reward"] == metrics["reward/r"] == pytest.approx(expected, abs=1e-5)
    assert_equal_gradients(gradient, of_everything, bar=2e-4)
    # any other that earns something else makes the two differ: the list is of what is well formed
    _, other = all_gradient(few, lambda text, _: 1.0 if text == "xx" else reward(text, _))
    assert flat(other).sub(flat(gradient)).norm() > 1e-3 * flat(gradient).norm()


def test_the_kl_that_is_logged_is_the_policys_to_its_reference(few, reference, monkeypatch):
    monkeypatch.setattr(reference, "processor", few.processor)
    config = replace(CONFIG, beta=0.3, temperature=1.0)
    metrics, _ = run(few, reference, one_prompt(few), config, [["x", "y"]])
    (prompt,), end = one_prompt(few).prompts, few.processor.turn_end_id
    ids = [[*few.processor.encode_completion(text), end] for text in ("x", "y")]
    with torch.no_grad():
        p, q = (
            torch.stack([slow_logprobs(model, prompt, row, 1.0).sum() for row in ids])[None]
            for model in (few, reference)
        )
    listed = torch.ones(1, 2, dtype=torch.bool)
    expected, other_way = event_kl(p, q, listed).item(), event_kl(q, p, listed).item()
    assert metrics["kl"] == pytest.approx(expected, rel=1e-3)
    assert other_way != pytest.approx(expected, rel=2e-3)


def flat(gradient: dict) -> torch.Tensor:
    return torch.cat([gradient[name].flatten() for name in sorted(gradient)])


def test_a_steps_sampled_gradient_is_unbiased(few):
    config = GRPOConfig(
        mode="no_think",
        group_size=2,
        prompts_per_step=32,
        max_completion_tokens=LIMIT,
        micro_batch_tokens=100_000,
        advantage_scale="none",
        advantage_baseline="leave_one_out",
        loss_normalization="constant",
        rewards=("table",),
        beta=0.0,
        max_grad_norm=1e9,
    )
    _, exact = all_gradient(few, of_table)
    exact_gradient, sampled = flat(exact) / LIMIT, []
    for step in range(16):
        optimizer, prompts = Recorder(few, config), one_prompt(few, 32, step)
        rewards = {"table": each(of_table)}
        train_step(few, None, optimizer, prompts, rewards, config, StepClock(few.device))
        sampled.append(flat({n: g for n, g in optimizer.gradients[0].items() if n in exact}))
    generator = torch.Generator().manual_seed(3)
    random = torch.randn(6, len(exact_gradient), generator=generator)
    directions = torch.cat([exact_gradient[None], random])
    directions = directions / directions.norm(dim=1, keepdim=True)
    found, truth = torch.stack(sampled) @ directions.T, directions @ exact_gradient
    standard_error = found.std(dim=0) / len(sampled) ** 0.5
    assert ((found.mean(dim=0) - truth).abs() <= 4 * standard_error).all()
    # the group's own mean as the baseline would halve it (G = 2), and that is seen
    assert (found.mean(dim=0)[0] - truth[0] / 2).abs() > 4 * standard_error[0]


def test_each_answer_is_scored_once_and_the_malformed_text_once_per_prompt(nano_policy, batch):
    seen = []

    def kept(texts, examples):
        seen.extend((example.id, text) for text, example in zip(texts, examples, strict=True))
        return [0.0] * len(texts)

    run(nano_policy, None, batch, replace(CONFIG, beta=0.0), reward_fns={"a": kept, "b": kept})
    expected = [(e.id, text) for e in EXAMPLES for text in (*short_answers(e), "")]
    assert seen == expected * 2  # of two functions


def test_the_methods_step_lists_a_questions_answers_and_samples_nothing(nano_policy, batch):
    config = replace(CONFIG, beta=0.0, rewards=("accuracy", "format"), reward_weights=())
    parse = ParseOnce()
    take_step = exact_method(
        config,
        nano_policy,
        None,
        PolicyOptimizer(nano_policy, config, total_steps=10),
        load_rewards(config.rewards, config.mode, parse),
        parse,
        well_formed_answers,
        total_steps=10,
    )
    taken = take_step(batch, StepClock(nano_policy.device))
    assert (taken.samples, taken.sampled) == (9, None)
    assert taken.metrics["reward/format"] == pytest.approx(0, abs=1e-6)


def test_each_update_raises_the_expected_reward(nano_policy, batch):
    config = replace(CONFIG, beta=0.0, lr_schedule="constant")
    optimizer = PolicyOptimizer(nano_policy, config, total_steps=10)
    answers, expected = [short_answers(example) for example in EXAMPLES], []
    for step in range(4):
        optimizer.start_step(step)
        metrics = exact_step(
            *(nano_policy, None, optimizer, batch, answers, REWARDS, config),
            StepClock(nano_policy.device),
        )
        optimizer.end_step()
        expected.append(metrics["reward"])
    assert expected == sorted(expected) and expected[0] < expected[-1]


def test_the_weight_of_the_kl_is_that_of_the_step(nano_policy, reference, batch):
    config = replace(CONFIG, beta=0.4, beta_schedule="linear")
    take_step = exact_method(
        *(config, nano_policy, reference, Recorder(nano_policy, config), REWARDS, ParseOnce()),
        short_answers,
        total_steps=4,
    )
    taken = take_step(replace(batch, step=3), StepClock(nano_policy.device))
    metrics, _ = run(nano_policy, reference, batch, replace(config, beta=0.1))
    assert taken.metrics["beta"] == pytest.approx(0.1)
    assert taken.metrics["loss"] == pytest.approx(metrics["loss"])
    last = take_step(replace(batch, step=4), StepClock(nano_policy.device)).metrics
    assert last["kl"] == pytest.approx(metrics["kl"]) and last["loss"] == -last["reward"]


@pytest.mark.parametrize("size", [1, 2, 4])  # of four one has nothing to score
def test_several_processes_score_their_own_and_all_have_the_means(nano_policy, size):
    answers = [list(well_formed_answers(example)) for example in EXAMPLES]
    rewards = load_rewards(("accuracy", "format"), "no_think", ParseOnce())

    def work(_rank: int):
        mine = world().place.share(len(EXAMPLES))
        prompts = tuple(nano_policy.processor.encode(EXAMPLES[i].question) for i in mine)
        own = PromptBatch(prompts, EXAMPLES, (0, 1, 2), 0, first=mine.start)
        of_answers, others = _scored(rewards, own, answers, 4)
        values = {"right": of_answers[..., 0].sum(dim=1), "form": others[:, 1]}
        values["any"] = torch.ones(3)  # what stands at the others' prompts is not counted
        return _means(values, own), (list(mine), of_answers[..., 0])

    for means, (mine, right) in as_ranks(size, work):
        assert means == {"right": 1.0, "form": 0.0, "any": 1.0}
        for i, example in enumerate(EXAMPLES):
            letters = ["ABCD"[k] == example.answer for k in range(4)] if i in mine else [False] * 4
            assert right[i].tolist() == letters
