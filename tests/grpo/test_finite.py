"""Logits that are not finite end in one message or a step that is counted, never in nonsense."""

import json

import pytest
import torch

import train
from data.examples import VQAExample
from data.prompts import TEMPLATES
from data.turns import TurnBuilder
from evaluation.asking import answerer, thoughts
from evaluation.asking.answerer import Answerer
from evaluation.asking.samples import sample_groups
from grpo.finite import check_masses
from grpo.optimizer import PolicyOptimizer
from grpo.sampling import generate_greedy
from tests.models.nano import random_image

pytestmark = pytest.mark.model


@pytest.fixture
def broken(nano_policy):
    """Every weight is finite, and what they make of any prompt is not; it is mended afterwards."""
    weight = nano_policy.text.layers[-1].mlp.down_proj.weight
    with torch.no_grad():
        weight.div_(weight.abs().max()).mul_(3e38)
    assert all(parameter.isfinite().all() for parameter in nano_policy.model.parameters())
    return nano_policy


def prompts(policy, count=2):
    images = [random_image(56, 56, seed=seed) for seed in range(count)]
    return [policy.processor.encode("What?", [image], keep_size=True) for image in images]


def examples(tmp_path, count=2):
    random_image(56, 56).save(tmp_path / "a.png")
    return [
        VQAExample(f"row-{i}", (tmp_path / "a.png",), "What?", ("CT", "MRI"), answer="A")
        for i in range(count)
    ]


MESSAGE = (
    r"not finite \(NaN or inf\) in \d of 2 completions, first at token 1 of the answer to 'row-0'"
    r".*largest weights of .*: model\.language_model\.layers\.1\.mlp\.down_proj\.weight \(3e\+38\)"
    r".*Take a checkpoint from before they broke"
)


def test_an_answer_that_is_asked_for_names_row_token_and_weights(broken, tmp_path):
    ask = Answerer(broken, TurnBuilder(TEMPLATES["think"], 56), "think", 4, with_letters=True)
    with pytest.raises(ValueError, match=MESSAGE):
        ask(examples(tmp_path))


def test_groups_that_are_sampled_for_an_evaluation_name_their_row(broken):
    how = {"group_size": 2, "max_completion_tokens": 3, "seed": 0}
    with pytest.raises(ValueError, match=r"in 4 of 4 .* the answer to 'row 8'"):
        sample_groups(broken, prompts(broken), [7, 9], **how)


def test_letters_after_a_text_that_was_given_are_looked_at(broken, tmp_path, monkeypatch):
    """Greedy decoding is finite here: only the pass that reads the letters is not."""
    monkeypatch.setattr(answerer, "check_finite_logits", lambda *_: None)
    real = answerer.generate_greedy

    def answered(*arguments):
        completions = real(*arguments)
        completions.texts[:] = ["<answer>A</answer>"] * len(completions.texts)
        return completions

    monkeypatch.setattr(answerer, "generate_greedy", answered)
    ask = Answerer(broken, TurnBuilder(TEMPLATES["think"], 56), "think", 4, with_letters=True)
    with pytest.raises(ValueError, match=r"where the answer to 'row-0' has its letter.*down_proj"):
        ask(examples(tmp_path))
    assert thoughts.check_masses is check_masses
    check_masses(broken, [None, 0.5], ["a", "b"])


def test_finite_logits_pass(nano_policy):
    completions = generate_greedy(nano_policy, prompts(nano_policy), 4)
    assert not completions.not_finite.any()


REWARD = "def length(completion, example, mode):\n    return {value}\n"


def exploding(tmp_path, monkeypatch, value, *flags):
    """Return the exit status of a run whose weights explode in its second step."""
    real = PolicyOptimizer.step

    def step(self, max_grad_norm):
        norm = real(self, max_grad_norm)
        if 2.9e-4 < self.learning_rate < 3.1e-4:
            with torch.no_grad():
                for weight in self.weights.values():
                    weight.mul_(1e30)
        return norm

    monkeypatch.setattr(PolicyOptimizer, "step", step)
    (tmp_path / "own.py").write_text(REWARD.format(value=value), encoding="utf-8")
    return train.main(
        [
            *("--model", "tiny", "--train-json", "phantoms:CT", "--image-size", "56"),
            *("--max-completion-tokens", "4", "--prompts-per-step", "1", "--group-size", "2"),
            *("--learning-rate", "4e-4", "--warmup-steps", "0", "--max-steps", "4"),
            *("--device", "cpu", "--rewards", f"{tmp_path / 'own.py'}:length", *flags),
            *("--output-dir", str(tmp_path / "run")),
        ]
    )


@pytest.mark.command
@pytest.mark.parametrize(("value", "beta"), [("len(completion)", "0.04"), ("1.0", "0")])
def test_weights_that_explode_in_a_run_are_counted_and_said(
    value, beta, tmp_path, monkeypatch, capsys
):
    """Without a KL and with rewards that agree no group has a gradient, and yet it is counted."""
    flags = ["--beta", beta, "--max-bad-steps", "2"]
    assert exploding(tmp_path, monkeypatch, value, *flags) == 2
    told = capsys.readouterr().err
    assert "step 3: the model's logits are not finite (NaN or inf) in 2 of 2 completions" in told
    assert "2 in a row" in told and "The largest weights of tiny: model." in told
    assert "NaN or inf in 2 steps in a row (steps 3 to 4)" in told and "IndexError" not in told
    lines = (tmp_path / "run/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["bad_steps"] for line in lines] == [0, 0, 1, 2]


@pytest.mark.command
def test_an_evaluation_of_exploded_weights_stops_the_run(tmp_path, monkeypatch, capsys):
    flags = ["--eval-json", "phantoms:CT", "--eval-limit", "2", "--eval-every", "2"]
    assert exploding(tmp_path, monkeypatch, "len(completion)", *flags) == 2
    told = capsys.readouterr().err
    assert "error: the model's logits are not finite" in told and "phantoms_heldout-" in told
    assert "Traceback" not in told
