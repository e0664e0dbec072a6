"""Rows that show no image, one or two, of their own sizes, in one batch, and batches of text alone.

The other side is transformers' own model of the same files, on single unpadded rows, or the same
row alone.

Shapes: M rows, C completion tokens.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from data.examples import VQAExample
from data.prompts import TEMPLATES
from data.turns import TurnBuilder
from evaluation.asking.encoding import encode_checked
from grpo.clock import StepClock
from grpo.likelihood import completion_logprobs
from grpo.optimizer import PolicyOptimizer
from grpo.rollout import PromptBatch, sample_rollout
from grpo.settings.config import GRPOConfig
from grpo.sft import sft_step
from grpo.step import train_step
from grpo.watch.first_step import image_warnings
from grpo.watch.verify import FLOAT32_BAR, verify_prefix
from models import load_policy
from models.lora.policy import LoraPolicy, WithoutAdapters
from models.lora.settings import LoraSettings
from rewards.bound import each
from tests.models.nano import FAMILIES, random_image, write_checkpoint

pytestmark = pytest.mark.model

CONFIG = GRPOConfig(
    prompts_per_step=2,
    group_size=3,
    max_completion_tokens=6,
    learning_rate=1e-3,
    lr_schedule="constant",
    temperature=0.8,
    rewards=("letters",),
)
LOGPROB_BAR = 1e-5
GRADIENT_BAR = 3e-5  # relative L2 per parameter, fp32


@pytest.fixture(scope="module", params=FAMILIES)
def directory(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("nano") / request.param
    return write_checkpoint(folder, request.param, changes={"max_position_embeddings": 1024})


@pytest.fixture
def policy(directory):
    return load_policy(directory)


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> list[VQAExample]:
    """Questions of every form; an image of its own size each, and some rows' own system turn."""
    folder = tmp_path_factory.mktemp("images")
    files = []
    for number, size in enumerate([(56, 84), (61, 130), (140, 75)]):
        files.append(folder / f"{number}.png")
        random_image(*size, seed=number).save(files[-1])
    one, two, three = files
    return [
        VQAExample("one", (one,), "Which plane?", ("axial", "coronal"), "B"),
        VQAExample("bare", (), "How many lungs has a man?", (), "2", form="number"),
        VQAExample("two", (two, three), "What changed?", (), "nothing", form="text"),
        VQAExample("told", (), "Name it.", ("CT", "MRI"), "A", system="You know medicine."),
        VQAExample("yes", (three,), "Is it so?", ("Yes", "No"), "A", form="yes_no", system="Look."),
    ]


def prompts_of(policy, examples):
    turns = TurnBuilder(TEMPLATES["think"], image_size=0)
    return [
        encode_checked(policy, example, turns, CONFIG.max_completion_tokens) for example in examples
    ]


def batch_of(policy, examples, places=None) -> PromptBatch:
    places = list(range(len(examples))) if places is None else places
    chosen = [examples[place] for place in places]
    return PromptBatch(tuple(prompts_of(policy, chosen)), tuple(chosen), tuple(places), step=2)


def text_alone(policy, examples) -> PromptBatch:
    return batch_of(
        policy, examples, [place for place, one in enumerate(examples) if not one.images]
    )


def transformers_logprobs(policy, model, part):
    """Return (M, C) through transformers' forward, each row with its own prompt."""
    owners = [p for p, n in zip(part.prompts, part.rows_per_prompt, strict=True) for _ in range(n)]
    rows = []
    for prompt, completion, mask in zip(
        owners, part.completion_ids, part.completion_mask, strict=True
    ):
        ids = torch.cat([prompt.input_ids, completion])[None]
        vision = {}
        if len(prompt.image_grid_thw):
            token = policy.processor.image_token_id
            vision = {"pixel_values": prompt.pixel_values, "image_grid_thw": prompt.image_grid_thw}
            vision["mm_token_type_ids"] = (ids == token).int()
        model.model.rope_deltas = None  # transformers' memory of the last call
        logits = model(input_ids=ids, use_cache=False, **vision).logits[
            0, prompt.num_tokens - 1 : -1
        ]
        logits = logits / CONFIG.temperature
        logits[:, list(policy.processor.banned_ids)] = -torch.inf
        logprobs = logits.log_softmax(dim=1).gather(1, completion[:, None])[:, 0]
        rows.append(torch.where(mask, logprobs, 0.0))
    return torch.stack(rows)


def gradients(model, logprobs):
    weights = torch.randn(logprobs.shape, generator=torch.Generator().manual_seed(3))
    model.zero_grad(set_to_none=True)
    (logprobs * weights).sum().backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("chosen", [batch_of, text_alone], ids=["mixed", "text alone"])
def test_update_and_gradient_are_those_of_transformers(policy, examples, chosen, checkpointing):
    policy.gradient_checkpointing = checkpointing
    model = AutoModelForImageTextToText.from_pretrained(policy.path, dtype=torch.float32)
    rollout = sample_rollout(policy, chosen(policy, examples), CONFIG.sampling)
    part = rollout.select(range(len(rollout.completion_mask)))
    theirs = transformers_logprobs(policy, model, part)
    torch.testing.assert_close(rollout.completions.logprobs, theirs, atol=LOGPROB_BAR, rtol=0)
    ours = completion_logprobs(policy, part, CONFIG.temperature)
    torch.testing.assert_close(ours, theirs, atol=LOGPROB_BAR, rtol=0)
    found, expected = gradients(policy.model, ours), gradients(model, theirs)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        if gradient is None:  # of the tower, which has seen nothing
            assert "visual" in name and found[name] is None
        else:
            assert (found[name] - gradient).norm() / gradient.norm() < GRADIENT_BAR, name
    assert any(gradient is None for gradient in expected.values()) == (chosen is text_alone)


def test_a_row_of_a_mixed_batch_is_that_row_alone(policy, examples):
    """Log-probabilities to 1e-5, sampled tokens all of them, in any order of the batch."""
    batch = batch_of(policy, examples)
    assert [len(prompt.image_grid_thw) for prompt in batch.prompts] == [1, 0, 2, 0, 1]
    rollout = sample_rollout(policy, batch, CONFIG.sampling)
    backwards = sample_rollout(policy, batch_of(policy, examples, [4, 3, 2, 1, 0]), CONFIG.sampling)
    mixed = completion_logprobs(policy, rollout.select(range(15)), CONFIG.temperature)
    for place in range(len(examples)):
        alone = sample_rollout(policy, batch_of(policy, examples, [place]), CONFIG.sampling)
        assert alone.texts[0] == rollout.texts[place] == backwards.texts[4 - place]
        part = alone.select(range(3))
        logprobs = completion_logprobs(policy, part, CONFIG.temperature)
        rows, length = slice(3 * place, 3 * place + 3), logprobs.shape[1]
        ids = rollout.completions.ids[rows, :length]
        assert torch.equal(part.completion_ids, ids)
        torch.testing.assert_close(mixed[rows, :length], logprobs, atol=LOGPROB_BAR, rtol=0)


def steps_on(policy, batch, *, reference=None, supervised=False, config=CONFIG):
    """Take two steps on a batch; return the weights that moved, and the last metrics."""
    optimizer = PolicyOptimizer(policy, config, total_steps=9)
    before = {n: w.detach().clone() for n, w in policy.named_parameters() if w.requires_grad}
    for step in range(2):
        optimizer.start_step(step)
        clock = StepClock(policy.device)
        if supervised:
            metrics = sft_step(policy, optimizer, batch, ["<answer>2</answer>"] * 2, config, clock)
        else:
            functions = {"letters": each(lambda text, _example: float(sum(map(ord, text))))}
            metrics = train_step(
                policy, reference, optimizer, replace(batch, step=step), functions, config, clock
            ).metrics
    assert all(
        optimizer.adamw.state[master] == {}
        for name, master in optimizer.masters.items()
        if "visual" in name
    )
    moved = {
        n for n, w in policy.named_parameters() if n in before and not torch.equal(w, before[n])
    }
    return moved, before.keys(), metrics


@pytest.mark.parametrize("supervised", [False, True], ids=["grpo", "sft"])
def test_steps_of_text_alone_leave_the_tower_as_it_is(policy, examples, supervised):
    reference = load_policy(policy.path).requires_grad_(False)
    batch = text_alone(policy, examples)
    moved, trained, metrics = steps_on(policy, batch, reference=reference, supervised=supervised)
    assert moved == {name for name in trained if "visual" not in name}
    assert metrics["grad_norm"] > 0
    if not supervised:
        assert metrics["kl"] > 0


def test_adapters_of_a_tower_that_sees_nothing_stay_too(policy, examples):
    batch = text_alone(policy, examples)
    lora = LoraPolicy(policy, LoraSettings(4, 8, ("all-linear",)), seed=1)
    moved, trained, metrics = steps_on(lora, batch, reference=WithoutAdapters(lora))
    assert moved and not any("visual" in name for name in moved)
    assert any("visual" in name for name in trained) and metrics["kl"] > 0


def test_a_frozen_tower_is_not_run_for_text_alone(directory, examples, monkeypatch):
    policy = load_policy(directory, freeze_vision=True)
    batch = text_alone(policy, examples)
    expected = sample_rollout(load_policy(directory), batch, CONFIG.sampling)
    monkeypatch.setattr(policy.visual, "forward", None)
    rollout = sample_rollout(policy, batch, CONFIG.sampling)
    assert rollout.texts == expected.texts


def test_a_micro_batch_of_text_beside_one_of_images_changes_no_gradient(policy, examples):
    batch = batch_of(policy, examples, [1, 2])
    norms = []
    for budget in (10_000, 20):  # all in one, and each row alone
        config = replace(CONFIG, micro_batch_tokens=budget, beta=0.0)
        fresh = load_policy(policy.path)
        optimizer = PolicyOptimizer(fresh, config, total_steps=9)
        optimizer.start_step(0)
        functions = {"letters": each(lambda text, _example: float(sum(map(ord, text))))}
        clock = StepClock(fresh.device)
        result = train_step(fresh, None, optimizer, batch, functions, config, clock)
        norms.append(result.metrics["grad_norm"])
    assert norms[0] == pytest.approx(norms[1], rel=1e-4) and norms[0] > 0


@pytest.mark.parametrize("chosen", [batch_of, text_alone], ids=["mixed", "text alone"])
def test_verify_prefix_and_the_watch_over_images_take_what_is_there(policy, examples, chosen):
    rollout = sample_rollout(policy, chosen(policy, examples), CONFIG.sampling)
    report = verify_prefix(policy, rollout, CONFIG)
    assert report.copies == len(rollout.completion_mask)
    assert 0 < report.error < FLOAT32_BAR and report.sampler_error < LOGPROB_BAR
    assert ("visual" in report.worst) <= (chosen is batch_of)
    assert list(image_warnings(policy, rollout, CONFIG)) == []
