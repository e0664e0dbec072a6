"""Under FSDP2: shards in CPU memory give the same weights, and 8-bit moments know no processes."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from tests.grpo.optimizer.two_processes import CASES
from tests.places import ROOT
from tests.whole.torchrun import run

pytestmark = pytest.mark.slow

TINY = ROOT / "models" / "tiny" / "model.safetensors"
HAS_LIBRARY = find_spec("bitsandbytes") is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where two processes have trained every case that can be trained here."""
    place = tmp_path_factory.mktemp("two_processes")
    names = [name for name in CASES if name != "8 bit" or HAS_LIBRARY]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    words = ["-m", "tests.grpo.optimizer.two_processes", place, *names]
    run(words, env={"PYTHONPATH": path}).check()
    return place


def weights_of(folder: Path, step: int = 2) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / f"step-{step:06d}" / "model.safetensors")


def test_shards_in_cpu_memory_give_the_same_weights(folder):
    here, there = weights_of(folder / "on the device"), weights_of(folder / "offloaded")
    start = load_file(TINY)
    assert any(not torch.equal(here[name].float(), start[name]) for name in here)
    assert here.keys() == there.keys()
    assert all(torch.equal(here[name], there[name]) for name in here)


@pytest.mark.skipif(not HAS_LIBRARY, reason="the extra low_memory is not installed")
def test_8_bit_moments_of_two_processes_are_gone_on_with_by_one(folder):
    # the processes themselves have compared shards with whole weights, to the bit
    assert train.main(["--resume", str(folder / "8 bit"), "--max-steps", "3"]) == 0
    before, after = weights_of(folder / "8 bit"), weights_of(folder / "8 bit", 3)
    assert any(not torch.equal(before[name], after[name]) for name in before)
