"""Runs of the embedded model with 8-bit moments, and with its optimizer in CPU memory."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from grpo.moments.adamw_8bit import is_quantized, moment_bytes
from tests.places import ROOT

pytestmark = pytest.mark.command

needs_library = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="the extra low_memory is not installed"
)
RATE, STEPS = 1e-4, 4
RUN = [
    *("--method", "sft", "--model", "tiny", "--train-json", "phantoms:CT", "--device", "cpu"),
    *("--image-size", "56", "--prompts-per-step", "2", "--learning-rate", str(RATE)),
    *("--lr-schedule", "constant", "--max-steps", str(STEPS), "--save-every", "2"),
]
START = ROOT / "models" / "tiny" / "model.safetensors"


def run(folder: Path, *flags: str) -> Path:
    assert train.main([*RUN, *flags, "--output-dir", str(folder)]) == 0
    return folder


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / f"step-{STEPS:06d}" / "model.safetensors")


@needs_library
def test_8_bit_moments_move_the_weights_as_far_and_are_resumed_to_the_bit(tmp_path):
    start, exact = load_file(START), weights_of(run(tmp_path / "float32"))
    folder = run(tmp_path / "8 bit", "--optimizer", "adamw_8bit")
    rounded = weights_of(folder)
    quantized = [name for name in start if is_quantized(start[name].shape)]
    assert len(quantized) == 3  # each layer's down projection has rows of 256
    for name in quantized:
        moved, other = (one[name] - start[name] for one in (exact, rounded))
        assert not torch.equal(moved, other)
        assert other.abs().max() < 1.5 * moved.abs().max()
        assert torch.cosine_similarity(moved.flatten(), other.flatten(), dim=0) > 0.9, name
    # the moments of a checkpoint: 2 bytes and a scale per block, where they have 8 bits
    state = load_file(folder / "checkpoints/step-000004/trainer/optimizer.safetensors")
    taken = sum(value.nbytes for key, value in state.items() if not key.startswith("step/"))
    assert taken == moment_bytes("adamw_8bit", [value.shape for value in start.values()])
    assert train.main(["--resume", str(folder), "--resume-from", "step-000002"]) == 0
    again = weights_of(folder)
    assert all(torch.equal(again[name], rounded[name]) for name in again)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_optimizer_in_cpu_memory_gives_the_same_weights(tmp_path, capsys, dtype):
    plain = weights_of(run(tmp_path / "plain", "--dtype", dtype))
    assert "--offload-optimizer" not in capsys.readouterr().err
    moved = weights_of(run(tmp_path / "moved", "--dtype", dtype, "--offload-optimizer"))
    assert all(torch.equal(plain[name], moved[name]) for name in plain)
    said = " ".join(capsys.readouterr().err.split())
    assert "--offload-optimizer: the run is on the CPU, so it saves no memory" in said


def test_a_missing_library_is_told_before_anything_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    out = tmp_path / "run"
    assert train.main([*RUN, "--optimizer", "adamw_8bit", "--output-dir", str(out)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "error: --optimizer adamw_8bit needs the library bitsandbytes" in said
    assert "python -m pip install 'bitsandbytes >= 0.50'" in said and not out.exists()


def test_the_two_do_not_go_together(tmp_path, capsys):
    flags = ["--optimizer", "adamw_8bit", "--offload-optimizer"]
    assert train.main([*RUN, *flags, "--output-dir", str(tmp_path / "run")]) == 2
    assert "optimizer=adamw_8bit does not go with offload_optimizer" in capsys.readouterr().err
