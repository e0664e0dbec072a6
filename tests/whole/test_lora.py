"""Runs with adapters: they learn, go on to the bit, and what they leave is asked like others.

On the embedded model, and on random nano models with a handful of images.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import evaluate
import train
from models import load_policy
from tests.models.lora.adapted import log_p
from tests.models.nano import random_image, write_checkpoint

TIMES = ("time/", "_per_second")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """A nano model, three images and a split."""
    folder = tmp_path_factory.mktemp("files")
    for index in range(3):
        random_image(60 + 20 * index, 80, seed=index).save(folder / f"{index}.png")
    rows = [
        {
            "image": f"{i % 3}.png",
            "problem": f"What is seen in image {i}? A)CT, B)MRI, C)Ultrasound",
            "solution": f"<answer> {'ABC'[i % 3]} </answer>",
        }
        for i in range(6)
    ]
    (folder / "CT_train.json").write_text(json.dumps(rows))
    model = write_checkpoint(folder / "model", "qwen2_5_vl")
    return {"model": str(model), "data": str(folder / "CT_train.json"), "root": str(folder)}


@pytest.fixture
def arguments(files):
    return [
        *("--model", files["model"], "--train-json", files["data"], "--image-root", files["root"]),
        *("--image-size", "56", "--max-completion-tokens", "8", "--prompts-per-step", "2"),
        *("--learning-rate", "1e-2", "--lr-schedule", "constant", "--device", "cpu"),
        *("--dtype", "float32", "--lora-rank", "4"),
    ]


GRPO = (
    *("--group-size", "3", "--beta", "0.1"),
    *("--rewards", f"{Path(__file__).parent / 'own_rewards.py'}:ascii_count", "format"),
)


def run(*arguments) -> int:
    return train.main([str(argument) for argument in arguments])


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.open(encoding="utf-8")]


def without_times(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if not any(t in k for t in TIMES)} for row in rows]


def same_tensors(one: Path, other: Path) -> bool:
    mine, theirs = load_file(one), load_file(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[n], theirs[n]) for n in mine)


@pytest.mark.slow
def test_the_default_run_with_adapters_learns_and_its_checkpoint_is_asked(tmp_path, capsys):
    flags = ("--max-steps", "3", "--warmup-steps", "0", "--learning-rate", "4e-3")
    asked = ("--eval-limit", "60", "--no-eval-blank", "--device", "cpu", "--dtype", "float32")
    out = tmp_path / "run"
    assert run("--lora-rank", "8", *flags, *asked, "--output-dir", out) == 0
    assert "adapters: rank 8 beside text, 49,152 parameters trained" in capsys.readouterr().out
    metrics = lines(out / "metrics.jsonl")
    assert metrics[0]["kl"] == 0.0 and metrics[2]["kl"] > 0  # the reference: adapters off
    assert metrics[0]["logprob_gap/max"] < 1e-4  # decoded from merged weights
    before, after = (json.loads((out / "eval" / f"step-00000{n}.json").read_text()) for n in (0, 3))
    assert after["overall"]["accuracy"] > before["overall"]["accuracy"]
    place = out / "checkpoints" / "step-000003"
    assert sum(file.stat().st_size for file in place.glob("*.safetensors")) < 1_000_000
    assert "peft" in json.loads((out / "run.json").read_text())["versions"]

    asked = ("--json", "phantoms", "--limit", "60", "--device", "cpu", "--dtype", "float32")
    answers = tmp_path / "answers"
    assert evaluate.main(["--model", str(place), *asked, "--output-dir", str(answers)]) == 0
    found = json.loads((answers / "summary.json").read_text())
    assert found["overall"]["accuracy"] == after["overall"]["accuracy"]


def test_a_run_that_goes_on_has_the_adapters_and_moments_of_one_that_never_stopped(
    arguments, tmp_path, capsys
):
    # all of the tower and the decoder, several micro-batches, recomputed activations
    flags = ("--lora-targets", "all-linear", "--gradient-checkpointing", "--verify-prefix")
    arguments += [*GRPO, *flags, "--micro-batch-tokens", "70"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(*arguments, "--max-steps", "4", "--output-dir", whole) == 0
    assert "shared prefix against 6 plain copies through transformers" in capsys.readouterr().out
    assert run(*arguments, "--max-steps", "2", "--output-dir", broken) == 0
    assert run("--resume", broken, "--max-steps", "4") == 0
    ours, theirs = (out / "checkpoints" / "step-000004" for out in (broken, whole))
    assert same_tensors(ours / "adapter_model.safetensors", theirs / "adapter_model.safetensors")
    (state,) = theirs.glob("trainer/optimizer*.safetensors")
    assert same_tensors(ours / "trainer" / state.name, state)
    assert (ours / "adapter_config.json").read_bytes() == (
        theirs / "adapter_config.json"
    ).read_bytes()
    for name in ("metrics.jsonl", "rollouts.jsonl"):
        assert without_times(lines(broken / name)) == without_times(lines(whole / name))
    metrics = lines(whole / "metrics.jsonl")
    assert metrics[0]["kl"] == 0.0 and metrics[3]["kl"] > 1e-4
    capsys.readouterr()
    assert run("--resume", broken, "--max-steps", "5", "--lora-rank", "8") == 2
    assert "--lora-rank cannot change when a run is resumed" in capsys.readouterr().err


def test_the_supervised_baseline_with_merged_checkpoints(files, arguments, tmp_path, capsys):
    arguments += ["--method", "sft"]
    out = tmp_path / "run"
    assert run(*arguments, "--merge-adapters", "--max-steps", "2", "--output-dir", out) == 0
    rows = lines(out / "metrics.jsonl")
    assert rows[1]["loss"] < rows[0]["loss"]
    place = out / "checkpoints" / "step-000002"
    assert (place / "config.json").is_file() and (place / "adapter").is_dir()
    merged, from_adapter = load_policy(place), load_policy(place / "adapter")
    assert torch.equal(log_p(merged), log_p(from_adapter))
    assert not torch.equal(log_p(merged), log_p(load_policy(files["model"])))
    # what changes the form of a checkpoint alone may change
    assert run("--resume", out, "--no-merge-adapters", "--max-steps", "3") == 0
    assert (out / "checkpoints" / "step-000003" / "adapter_model.safetensors").is_file()
    # a run of its own begins with the merged model, whole
    again = ["--model", str(place / "adapter"), *arguments[2:-4], "--method", "sft"]
    assert run(*again, "--max-steps", "1", "--output-dir", tmp_path / "whole") == 0
    assert (tmp_path / "whole" / "checkpoints" / "step-000001" / "model.safetensors").is_file()
    capsys.readouterr()
    refused = [*again, "--lora-rank", "2", "--output-dir", str(tmp_path / "no")]
    assert run(*refused) == 2
    assert "--lora-rank puts new adapters on a whole model" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_names_that_no_layer_has_are_told_before_anything_is_trained(arguments, tmp_path, capsys):
    flags = ("--lora-targets", "c_attn", "--output-dir", tmp_path / "run")
    assert run(*arguments, *GRPO, *flags) == 2
    assert "no linear layer of this model is called c_attn" in capsys.readouterr().err
