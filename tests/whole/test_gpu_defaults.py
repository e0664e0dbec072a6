"""The commands with what a GPU machine resolves "auto" to, on a CPU: one after the other, once."""

import json

import pytest
import torch

import evaluate
import train
from grpo.settings.config import GRPOConfig
from grpo.settings.hardware import resolve_hardware
from models import load_policy
from models.devices import default_dtype
from tests.whole.gpu_defaults import defaults_of_a_gpu


@pytest.fixture(autouse=True)
def a_gpus_defaults():
    with defaults_of_a_gpu():
        yield


def test_they_are_what_a_gpu_resolves_to():
    config = resolve_hardware(GRPOConfig(device="cpu", logprob_backend="torch"))
    assert (config.dtype, config.gradient_checkpointing) == ("bfloat16", True)
    assert default_dtype(torch.device("cpu")) == default_dtype(torch.device("cuda:0"))
    policy = load_policy("tiny")
    assert policy.dtype == torch.bfloat16 and policy.decode_graphs == "stand-in"
    asked = GRPOConfig(device="cpu", dtype="float32", gradient_checkpointing=False)
    config = resolve_hardware(asked)
    assert (config.dtype, config.gradient_checkpointing) == ("float32", False)


def test_a_model_is_trained_verified_resumed_and_scored(tmp_path, capsys):
    run, quick = tmp_path / "run", ["--limit", "4", "--batch-size", "2"]
    flags = ["--eval-limit", "4", "--save-every", "1", "--verify-prefix", "--device", "cpu"]
    flags += ["--prompts-per-step", "2", "--group-size", "4"]
    assert train.main([*flags, "--max-steps", "2", "--output-dir", str(run)]) == 0
    assert train.main(["--resume", str(run), "--max-steps", "3", "--verify-prefix"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("8 plain copies through transformers, loaded anew (float32; plain") == 2
    assert "parameters copied from the policy" not in printed
    config = json.loads((run / "run.json").read_text())["config"]
    assert (config["dtype"], config["gradient_checkpointing"]) == ("bfloat16", True)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(0 < row["logprob_gap/mean"] < 0.1 and row["grad_norm"] > 0 for row in rows)
    model = str(run / "checkpoints" / "step-000003")
    data = ["--json", "phantoms:CT", *quick]
    assert evaluate.main(["--model", model, *data, "--output-dir", str(tmp_path / "e")]) == 0
    assert (
        json.loads((tmp_path / "e" / "summary.json").read_text())["evaluation"]["dtype"]
        == "bfloat16"
    )
    matrix = ["matrix", "--models", f"CT={model}", *data, "--output-dir", str(tmp_path / "m")]
    assert evaluate.main(matrix) == 0
