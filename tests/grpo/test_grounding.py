"""The grounding term: what it measures, that it teaches something, and that off means off."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data.examples import VQAExample
from data.phantoms import phantom_examples
from data.prompts import TEMPLATES
from data.turns import TurnBuilder
from evaluation.answers import prediction as predictions
from evaluation.asking.blind import blank_letters, make_grounding
from evaluation.asking.option_letters import letter_probabilities
from evaluation.asking.questions import check_grounding
from grpo.advantages import group_advantages
from grpo.clock import StepClock
from grpo.grounding import GroundingTerm, no_grounding, penalty_term, scale_term
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch, sample_rollout
from grpo.sampling import generate_greedy
from grpo.settings.config import GRPOConfig
from grpo.step import train_step
from models import load_policy
from rewards import parse_completion
from rewards.bound import each
from tests.models.nano import random_image

CONFIG = GRPOConfig(
    mode="no_think",
    group_size=4,
    prompts_per_step=2,
    max_completion_tokens=8,
    rewards=("vowels",),
    beta=0.0,
)
LETTERS = [{"A": 0.7, "B": 0.2, "C": 0.1}, {"A": 0.25, "B": 0.75}]


def test_the_penalty_differs_within_a_group_and_moves_its_advantages():
    # two right completions: one writes what is guessed blind (A), the other what is not (B)
    term = penalty_term(LETTERS, [["A", "B", None], ["B", "B", "A"]], 0.5)
    assert term.penalties.tolist() == [
        pytest.approx([0.35, 0.1, 0.0]),
        pytest.approx([0.375, 0.375, 0.125]),
    ]
    assert term.metrics == {"grounding/blank_probability": pytest.approx((0.7 + 0.2 + 1.75) / 5)}
    rewards = torch.tensor([[1.0, 1.0, 0.0]] * 2, dtype=torch.float64)
    plain = group_advantages(rewards)
    moved = group_advantages(rewards - term.penalties)
    assert plain[0, 0] == plain[0, 1] and moved[0, 0] < moved[0, 1]
    assert torch.equal(term.scales, torch.ones(2, 1, dtype=torch.float64))


def test_a_penalty_that_is_the_same_for_a_group_would_vanish():
    rewards = torch.tensor([[2.0, 1.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    term = penalty_term(LETTERS, [["A"] * 3, ["B"] * 3], 1.0)
    assert torch.allclose(
        group_advantages(rewards - term.penalties), group_advantages(rewards), atol=1e-6
    )
    with_none = penalty_term(LETTERS, [["A", "A", None], ["B"] * 3], 1.0)
    moved = group_advantages(rewards - with_none.penalties)
    assert not torch.allclose(moved[0], group_advantages(rewards)[0], atol=1e-3)


def test_the_scale_comes_after_the_normalisation_which_would_undo_it():
    rewards = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    term = scale_term(LETTERS, ["A", "B"], 3)
    assert term.scales.flatten().tolist() == pytest.approx([0.3, 0.25])
    assert term.metrics == {"grounding/blank_probability": pytest.approx(0.725)}
    assert not term.penalties.any() and term.penalties.shape == (2, 3)
    before = group_advantages(rewards * term.scales)
    assert torch.allclose(before, group_advantages(rewards), rtol=2e-3)  # up to eps
    after = group_advantages(rewards) * term.scales
    assert torch.allclose(after[0] / after[1], torch.tensor(0.3 / 0.25, dtype=torch.float64))


def test_where_nothing_is_known_nothing_is_done():
    penalty = penalty_term([None, LETTERS[1]], [["A", "B"], [None, None]], 1.0)
    assert not penalty.penalties.any()
    assert penalty.metrics == {"grounding/blank_probability": None}
    scale = scale_term([None], ["A"], 2)
    assert scale.scales.tolist() == [[1.0]]
    assert scale.metrics == {"grounding/blank_probability": None}


# what is measured, on the embedded model


@pytest.fixture(scope="module")
def tiny():
    return load_policy("tiny")


@pytest.fixture(scope="module")
def questions(tiny):
    rows = [
        VQAExample("a", (), "Where is the lesion?", ("left", "right", "top"), "B"),
        VQAExample("b", (), "What imaging modality is this?", ("CT", "MRI"), "A"),
    ]
    texts = [f"{row.question} {', '.join(row.options)}" for row in rows]
    prompts = [
        tiny.processor.encode(text, [random_image(84, 84, seed=i)]) for i, text in enumerate(texts)
    ]
    return prompts, rows


@pytest.mark.model
@pytest.mark.parametrize("mode", ["think", "no_think", "think_after"])
def test_the_letters_are_those_of_a_policy_that_never_sees_the_image(tiny, questions, mode):
    prompts, rows = questions
    found = blank_letters(tiny, prompts, rows, mode, 24)
    for prompt, row, letters in zip(prompts, rows, found, strict=True):
        blank = prompt.blanked()
        text = "<answer>"
        if mode == "think":  # its own thought, from the blank image too
            text = generate_greedy(tiny, [blank], 24).texts[0]
        (expected,) = letter_probabilities(tiny, [blank], [text], [len(row.options)])
        assert (letters is None) == (expected is None)
        if expected is not None:
            assert letters == pytest.approx(expected, abs=1e-5)
            assert sum(letters.values()) == pytest.approx(1)
    other = [replace(p, pixel_values=p.pixel_values.flip(0) + 1) for p in prompts]
    assert blank_letters(tiny, other, rows, mode, 24) == found


@pytest.mark.model
def test_behind_its_own_thought_every_letter_is_certain_without_the_image_too(tiny):
    # why the blind thought is asked for: 1 for all of a group would vanish
    rows = phantom_examples("heldout", rows_per_cell=1)[:16]
    turns = [TurnBuilder(TEMPLATES["think"], 84)(row) for row in rows]
    prompts = [tiny.processor.encode(turn.text, turn.images) for turn in turns]
    texts = generate_greedy(tiny, prompts, 24).texts
    choices = [
        parse_completion(text, "think", row.options).choice
        for text, row in zip(texts, rows, strict=True)
    ]
    unseen = [prompt.blanked() for prompt in prompts]
    own = letter_probabilities(tiny, unseen, texts, [4] * len(rows))
    assert min(letters[choice] for letters, choice in zip(own, choices, strict=True)) > 0.99
    blind = blank_letters(tiny, prompts, rows, "think", 24)
    given = [letters[choice] for letters, choice in zip(blind, choices, strict=True)]
    assert min(given) < 0.1


@pytest.mark.model
def test_each_prompt_is_run_once_for_its_group(tiny, questions, monkeypatch):
    prompts, rows = questions
    real, run = type(tiny).scored_hidden, []

    def watched(self, prompts, rows_per_prompt, *arguments, **options):
        run.append((len(prompts), sum(rows_per_prompt)))
        return real(self, prompts, rows_per_prompt, *arguments, **options)

    monkeypatch.setattr(type(tiny), "scored_hidden", watched)
    blank_letters(tiny, prompts, rows, "no_think", 24)
    assert [prompts for prompts, _ in run] == [2]


def test_letters_that_are_hardly_written_are_not_measured_and_the_mass_is_told(nano_policy):
    batch = PromptBatch(
        (nano_policy.processor.encode("Which?", [random_image(56, 84)]),),
        (VQAExample("e", (), "Q?", ("x", "y"), "A"),),
        (0,),
        0,
    )
    for kind in ("scale", "penalty"):
        config = replace(CONFIG, grounding=kind, prompts_per_step=1)
        rollout = sample_rollout(nano_policy, batch, config.sampling)
        term = make_grounding(config)(nano_policy, rollout)
        assert term.metrics["grounding/blank_probability"] is None
        assert 0 < term.metrics["grounding/letter_mass"] < 0.01
        assert torch.equal(term.scales, torch.ones_like(term.scales)) and not term.penalties.any()


def test_questions_without_letters_or_images_are_left_as_they_are_and_counted(nano_policy):
    encode, image = nano_policy.processor.encode, random_image(56, 84)
    asked = [
        (encode("Which?", [image]), VQAExample("a", (), "Q?", ("x", "y"), "A")),
        (encode("Which?", []), VQAExample("b", (), "Q?", ("x", "y"), "A")),
        (encode("Is it?", [image]), VQAExample("c", (), "Q?", ("Yes", "No"), "A", form="yes_no")),
        (encode("What?", [image]), VQAExample("d", (), "Q?", (), "liver", form="text")),
    ]
    prompts, rows = zip(*asked, strict=True)
    found = blank_letters(nano_policy, prompts, rows, "no_think", 4)
    assert [letters is None for letters in found] == [False, True, True, True]
    assert blank_letters(nano_policy, prompts[1:], rows[1:], "no_think", 4) == [None] * 3
    for kind in ("scale", "penalty"):
        config = replace(CONFIG, grounding=kind, prompts_per_step=4)
        rollout = sample_rollout(nano_policy, PromptBatch(prompts, rows, (0, 1, 2, 3), 0),
                                 config.sampling)  # fmt: skip
        term = make_grounding(config)(nano_policy, rollout)
        assert term.metrics["grounding/left_out"] == 3 / 4
        assert torch.equal(term.scales[1:], torch.ones(3, 1, dtype=torch.float64))
        assert not term.penalties[1:].any()


def test_a_term_that_no_training_question_could_be_measured_on_is_refused():
    image = (Path("a.png"),)
    letter = VQAExample("a", image, "Q?", ("x", "y"), "A")
    others = [
        replace(letter, images=()),
        VQAExample("c", image, "Q?", ("Yes", "No"), "A", form="yes_no"),
        VQAExample("d", image, "Q?", (), "liver", form="text"),
    ]
    with pytest.raises(ValueError, match=r"--grounding scale reads .* leave the flag out"):
        check_grounding("scale", others)
    check_grounding("none", others)
    check_grounding("penalty", [*others, letter])


# in the step, on a random model whose completions are noise: choices are given


def vowels(text: str, _example) -> float:
    return float(sum(letter in "aeiou" for letter in text))


def steps(policy, config, groundings):
    """One step per grounding, from the same weights; the gradient it left and what it did."""
    prompts = tuple(
        policy.processor.encode(text, [random_image(56, 84, seed=i)])
        for i, text in enumerate(["Which plane?", "Name it."])
    )
    examples = tuple(VQAExample(f"e{i}", (), "Q?", ("x", "y"), "A") for i in range(2))
    batch = PromptBatch(prompts, examples, (0, 1), 0)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    for grounding in groundings:
        optimizer = PolicyOptimizer(policy, config, total_steps=10)
        clock = StepClock(policy.device)
        try:
            result = train_step(
                policy, None, optimizer, batch, {"vowels": each(vowels)}, config, clock, grounding
            )
        finally:
            policy.load_state_dict(before)
        yield result, {n: p.grad.clone() for n, p in policy.named_parameters()}


def given(term: GroundingTerm):
    return lambda _policy, _rollout: term


NO_TERM = GroundingTerm(
    torch.zeros(2, 4, dtype=torch.float64), torch.ones(2, 1, dtype=torch.float64), {}
)


def test_off_is_off_bitwise_and_an_empty_term_changes_nothing(nano_policy):
    assert make_grounding(CONFIG) is None
    (plain, gradient), (empty, same) = steps(nano_policy, CONFIG, [None, given(NO_TERM)])
    assert torch.equal(plain.advantages, empty.advantages)
    assert not any(name.startswith("grounding") for name in plain.metrics)
    assert plain.metrics == empty.metrics
    assert all(torch.equal(gradient[name], same[name]) for name in gradient)
    none = no_grounding(nano_policy, plain.rollout)
    assert none.metrics == {} and none.penalties.shape == plain.advantages.shape
    assert torch.equal(plain.advantages, group_advantages(plain.rewards))


def test_the_penalty_enters_before_and_the_scale_after_the_normalisation(nano_policy):
    penalties = torch.tensor([[0.5, 0.0, 2.0, 0.0]] * 2, dtype=torch.float64)
    scales = torch.tensor([[0.25], [1.0]], dtype=torch.float64)
    terms = [
        replace(NO_TERM, penalties=penalties, measured={"grounding/blank_probability": [0.3]}),
        replace(NO_TERM, scales=scales),
    ]
    (plain, gradient), (penalised, other), (scaled, _) = steps(
        nano_policy, CONFIG, [None, *map(given, terms)]
    )
    rewards = plain.rewards_per_fn[..., 0]
    assert torch.equal(penalised.advantages, group_advantages(rewards - penalties))
    assert torch.equal(scaled.advantages, (plain.advantages * scales).float())
    for result in (penalised, scaled):  # what is reported stays what was earned
        assert torch.equal(result.rewards_per_fn, plain.rewards_per_fn)
        assert result.metrics["reward"] == plain.metrics["reward"]
    assert penalised.metrics["grounding/blank_probability"] == 0.3
    assert any(not torch.equal(gradient[name], other[name]) for name in gradient)


@pytest.mark.parametrize("kind", ["penalty", "scale"])
@pytest.mark.parametrize("mode", ["no_think", "think"])
def test_measuring_it_leaves_no_gradient_and_no_other_sample(nano_policy, kind, mode, monkeypatch):
    monkeypatch.setattr(predictions, "LEAST_MASS", 0.0)  # a random model writes hardly a letter
    config = replace(CONFIG, grounding=kind, mode=mode)
    measure, terms = make_grounding(config), []

    def kept(policy, rollout):
        terms.append(measure(policy, rollout))
        return terms[0]

    def unmeasured(_policy, _rollout):  # the same numbers, without a forward
        return terms[0]

    (first, gradient), (second, same) = steps(nano_policy, config, [kept, unmeasured])
    assert not terms[0].penalties.requires_grad and not terms[0].scales.requires_grad
    assert first.rollout.completions.texts == second.rollout.completions.texts
    assert all(torch.equal(gradient[name], same[name]) for name in gradient)
    if (kind, mode) == ("scale", "no_think"):
        assert 0 < first.metrics["grounding/blank_probability"] < 1
        assert torch.all(terms[0].scales < 1)
