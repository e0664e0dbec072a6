"""What the trainer is handed of a step: with the parser that rewards and log share."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from data.examples import VQAExample
from data.order import ExampleOrder
from evaluation.asking.blind import make_grounding
from evaluation.asking.questions import Questions
from grpo.clock import StepClock
from grpo.dynamic_sampling import Draws
from grpo.methods import grpo_method, sft_method
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch
from grpo.settings.config import GRPOConfig
from rewards import ParseOnce, load_rewards, parse_completion, parse_once
from tests.models.nano import random_image

CONFIG = GRPOConfig(
    mode="no_think",
    group_size=4,
    prompts_per_step=2,
    max_completion_tokens=8,
    beta=0.0,
    grounding="penalty",
)


@pytest.fixture
def batch(nano_policy) -> PromptBatch:
    prompts = tuple(
        nano_policy.processor.encode(text, [random_image(56, 84, seed=i)])
        for i, text in enumerate(["Which plane?", "Name it."])
    )
    examples = tuple(VQAExample(f"e{i}", (), "Q?", ("x", "y", f"{i}"), "A") for i in range(2))
    return PromptBatch(prompts, examples, (0, 1), 0)


@pytest.mark.parametrize("grounding", ["none", "penalty"])
def test_a_completion_is_parsed_once_in_a_step(nano_policy, batch, monkeypatch, grounding):
    calls: Counter = Counter()

    def counted(text, mode, options, form):
        calls[text, options] += 1
        return parse_completion(text, mode, options, form)

    monkeypatch.setattr(parse_once, "parse_completion", counted)
    config, parse = replace(CONFIG, grounding=grounding), ParseOnce()
    take_step = grpo_method(
        config,
        nano_policy,
        None,
        PolicyOptimizer(nano_policy, config, total_steps=10),
        load_rewards(config.rewards, config.mode, parse),
        parse,
        make_grounding(config, parse),
        total_steps=10,
    )
    before = {name: value.clone() for name, value in nano_policy.state_dict().items()}
    try:
        taken = take_step(batch, StepClock(nano_policy.device))
    finally:
        nano_policy.load_state_dict(before)
    rollout = taken.sampled.result.rollout
    pairs = {pair for group in rollout.for_each(lambda t, e: (t, e.options)) for pair in group}
    assert calls == dict.fromkeys(pairs, 1)
    assert taken.samples == len(taken.sampled.choices) == 8
    assert taken.metrics["well_formed"] == taken.sampled.well_formed


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_a_step_has_its_own_beta_which_is_logged_where_it_changes(
    nano_policy, batch, monkeypatch, schedule
):
    config = replace(CONFIG, beta=0.4, beta_schedule=schedule, grounding="none")
    taken, parse = [], ParseOnce()
    result = SimpleNamespace(metrics={"kl": 0.5}, rollout=None, draws=Draws())

    def step(*given):
        taken.append(given[-1])
        return result

    result.rollout = SimpleNamespace(
        for_each=lambda _: [[SimpleNamespace(well_formed=True)]], completion_mask=torch.ones(1, 3)
    )
    monkeypatch.setattr("grpo.methods.train_step", step)
    optimizer = PolicyOptimizer(nano_policy, config, total_steps=4)
    begun = []
    sync = SimpleNamespace(start_step=begun.append, age=lambda step: 10 * step)
    take_step = grpo_method(
        *(config, nano_policy, None, optimizer, {}, parse, None),
        total_steps=4,
        sync=None if schedule == "constant" else sync,
    )
    clock = StepClock(nano_policy.device)
    lines = [take_step(replace(batch, step=step), clock).metrics for step in (0, 1, 3)]
    logged = [line.get("beta") for line in lines]
    expected = (
        [0.4] * 3 if schedule == "constant" else [0.4, pytest.approx(0.3), pytest.approx(0.1)]
    )
    assert [objective.beta for objective in taken] == expected
    assert logged == ([None] * 3 if schedule == "constant" else expected)
    assert replace(taken[0], beta=config.beta) == config.objective, "and all else is the run's"
    ages = [line.get("reference_age") for line in lines]
    assert (begun, ages) == (
        ([], [None] * 3) if schedule == "constant" else ([0, 1, 3], [0, 10, 30])
    )


@pytest.mark.parametrize("named", ["none", "pass_rate"])
def test_a_curriculum_is_told_of_a_step_and_logged_only_where_there_is_one(
    nano_policy, batch, named
):
    state, rows = {"step": 0}, list(batch.examples)
    config = replace(CONFIG, grounding="none", curriculum=named)
    questions = Questions({}, None, ExampleOrder(rows, config.seed, False), None)
    curriculum, parse = questions.curriculum(config, state), ParseOnce()
    assert (curriculum is None) == (named == "none")
    take_step = grpo_method(
        config,
        nano_policy,
        None,
        PolicyOptimizer(nano_policy, config, total_steps=10),
        load_rewards(config.rewards, config.mode, parse),
        parse,
        None,
        total_steps=10,
        curriculum=curriculum,
    )
    before = {name: value.clone() for name, value in nano_policy.state_dict().items()}
    try:
        taken = take_step(batch, StepClock(nano_policy.device))
    finally:
        nano_policy.load_state_dict(before)
    logged = {name: value for name, value in taken.metrics.items() if "curriculum/" in name}
    if curriculum is None:
        assert logged == {}
        return
    names = ("pass_rate_mean", "unseen", "effective_examples")
    values = zip(names, (None, 1.0, pytest.approx(2.0)), strict=True)
    assert logged == {f"curriculum/{name}": value for name, value in values}
    shares = taken.sampled.result.rewards_per_fn[..., 0].mean(dim=1).tolist()
    assert curriculum.state(1)["curriculum"]["recent"] == [[*enumerate(shares)]]


def test_the_supervised_baseline_teaches_each_example_its_target(nano_policy, batch):
    config = GRPOConfig(method="sft", mode="no_think", beta=0.0, learning_rate=1e-2)
    asked = []

    def target(example) -> str:
        asked.append(example.id)
        return f"<answer>{example.answer}</answer>"

    optimizer = PolicyOptimizer(nano_policy, config, total_steps=10)
    take_step = sft_method(config, nano_policy, optimizer, target)
    losses = []
    for step in range(3):
        optimizer.start_step(step + config.warmup_steps)
        taken = take_step(batch, StepClock(nano_policy.device))
        optimizer.end_step()
        losses.append(taken.metrics["loss"])
    assert asked == ["e0", "e1"] * 3
    assert (taken.samples, taken.sampled) == (2, None)
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[2]
