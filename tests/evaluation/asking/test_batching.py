"""How many questions are answered at once: by device, by memory, and by what was asked for."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import evaluation.heldout
from data.examples import VQAExample
from evaluation.asking import batching
from evaluation.asking.batching import (
    MOST,
    SHARE,
    batch_size_of,
    bytes_per_question,
    most_images,
    questions_at_once,
)
from evaluation.asking.settings import AskingSettings
from evaluation.scoring import Scoring
from grpo.settings import device_memory
from grpo.settings.config import GRPOConfig
from models import load_policy

pytestmark = pytest.mark.model


def shaped(device="cuda"):
    """Qwen2-VL-2B's sizes, without weights."""
    config = SimpleNamespace(
        hidden_size=1536,
        num_attention_heads=12,
        num_key_value_heads=2,
        num_hidden_layers=28,
        intermediate_size=8960,
    )
    with torch.device("meta"):
        projection = nn.Conv3d(3, 1280, (2, 14, 14), bias=False)
        weight = torch.empty(151_936, 1536)
    return SimpleNamespace(
        device=torch.device(device),
        dtype=torch.bfloat16,
        text=SimpleNamespace(config=config),
        visual=SimpleNamespace(patch_embed=SimpleNamespace(proj=projection)),
        output_weight=weight,
    )


def test_the_bytes_of_a_question_worked_by_hand():
    # 384 pixels: 28 x 28 patches, 196 visual tokens and 128 of text
    caches = 2 * 28 * 2 * 128 * (2 * 324 + 256)
    decoder = 324 * (8 * 1536 + 4 * 8960)
    vision = 784 * (20 * 1280 + 1176)
    logits = 3 * 4 * 151_936
    expected = 2 * (caches + decoder + vision) + logits
    assert bytes_per_question(shaped(), 384, 256) == expected
    assert bytes_per_question(shaped(), 0, 256) == expected  # its own size is taken as 384
    assert 90e6 < expected < 130e6


def test_a_question_has_as_many_images_as_it_has_and_the_one_with_most_counts():
    words, one, three = (bytes_per_question(shaped(), 384, 256, images=n) for n in (0, 1, 3))
    assert words == 2 * (2 * 28 * 2 * 128 * (2 * 128 + 256) + 128 * (8 * 1536 + 4 * 8960)) + (
        3 * 4 * 151_936
    )
    assert three - words == 3 * (one - words) > 0
    at_once = [questions_at_once(shaped(), 384, 256, 20e9, images=n) for n in (0, 1, 3)]
    assert at_once == [128, 64, 32]
    rows = [VQAExample(f"{n}", tuple([lambda: None] * n), "?", ("a", "b"), "A") for n in (0, 3, 1)]
    assert most_images(rows) == 3 and most_images([]) == most_images(rows[:1]) == 0


@pytest.mark.parametrize(
    ("gigabytes", "size"), [(80, 128), (20, 64), (10, 32), (1, 4), (0.05, 1), (-3, 1)]
)
def test_the_largest_power_of_two_that_fits_is_taken(gigabytes, size):
    policy = shaped()
    found = questions_at_once(policy, 384, 256, gigabytes * 1e9)
    assert found == size
    if 1 < size < MOST["cuda"]:
        each = bytes_per_question(policy, 384, 256)
        assert size * each <= SHARE * gigabytes * 1e9 < 2 * size * each
    assert questions_at_once(policy, 384, 256, gigabytes * 1e9, with_letters=True) <= size
    assert questions_at_once(policy, 768, 256, gigabytes * 1e9) <= size


def test_a_cpu_takes_more_and_memory_that_nobody_tells_is_no_limit():
    assert questions_at_once(shaped("cpu"), 384, 256, float("inf")) == MOST["cpu"] == 256


def test_a_size_that_was_given_is_kept(monkeypatch):
    monkeypatch.setattr(batching, "free_memory", lambda _device: 10e9)
    settings = AskingSettings("think", 384, "{question} {options}", 256, {}, ())
    assert batch_size_of(7, shaped(), settings, [], with_letters=True) == 7
    rows = [VQAExample("x", (lambda: None,), "?", ("a", "b"), "A")]
    assert batch_size_of(None, shaped(), settings, rows, with_letters=False) == 32
    rows += [VQAExample("y", (lambda: None,) * 5, "?", ("a", "b"), "A")]
    assert batch_size_of(None, shaped(), settings, rows, with_letters=False) == 8


def test_evaluations_count_the_images_of_their_own_rows(monkeypatch):
    rows = [VQAExample("x", (lambda: None,) * count, "?", ("a", "b"), "A") for count in (1, 5)]
    monkeypatch.setattr(batching, "free_memory", lambda _device: 10e9)
    monkeypatch.setattr(evaluation.heldout, "idle_between_steps", lambda _config: 10e9)
    settings = AskingSettings("think", 384, "{question} {options}", 256, {}, ())
    config = GRPOConfig(max_completion_tokens=256, image_size=384)
    for examples, size in ((rows[:1], 32), (rows, 8)):
        model, test = SimpleNamespace(settings=settings), SimpleNamespace(examples=examples)
        scoring = Scoring(model, test, None, (), with_letters=False)
        assert scoring.batch_size(shaped(), None) == size
        questions = SimpleNamespace(splits={"eval": test}, turns=settings.turn_builder)
        heldout = evaluation.heldout.held_out(config, shaped(), questions)
        assert heldout._batch_size == size


def test_what_a_run_leaves_idle_is_the_same_at_every_evaluation(monkeypatch):
    properties = SimpleNamespace(total_memory=80e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)
    estimate = SimpleNamespace(staying=42e9)
    monkeypatch.setattr(device_memory, "memory_of_run", lambda _config: estimate)
    config = GRPOConfig(device="cuda:0", dtype="bfloat16")
    assert device_memory.idle_between_steps(config) == 80e9 - 42e9
    monkeypatch.setattr(device_memory, "free_memory", lambda _device: 3e9)
    assert device_memory.idle_between_steps(GRPOConfig(device="cpu")) == 3e9


def test_evaluation_in_training_asks_in_batches_by_memory_and_not_by_the_step(
    tmp_path, monkeypatch, capsys
):
    asked = []

    class Watched(evaluation.heldout.HeldOut):
        def __init__(self, *arguments, **options):
            asked.append(options["batch_size"])
            super().__init__(*arguments, **options)

    monkeypatch.setattr(evaluation.heldout, "HeldOut", Watched)
    monkeypatch.setattr(evaluation.heldout, "idle_between_steps", lambda _config: float("inf"))
    import train

    flags = ["--max-steps", "1", "--prompts-per-step", "1", "--group-size", "2"]
    flags += ["--eval-limit", "6", "--output-dir", str(tmp_path / "run")]
    assert train.main(flags) == 0
    assert asked == [256]
    assert "held-out accuracy" in "".join(capsys.readouterr())


def test_the_embedded_model_fits_in_the_largest_batch():
    policy = load_policy("tiny")
    assert bytes_per_question(policy, 84, 24, 200) * 256 < 1e9


def test_the_cache_of_a_token_is_what_the_readme_says():
    one, two = (bytes_per_question(shaped(), 384, tokens) for tokens in (256, 257))
    assert two - one == 28_672
